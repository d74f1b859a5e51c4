/** The console's first line: the style sheets, then the page. */
import './style/fonts.css';
import './style/tokens.css';
import './style/base.css';
import { mount } from 'svelte';
import App from './App.svelte';

const target = document.getElementById('console');
if (target) mount(App, { target });

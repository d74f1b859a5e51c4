/** What Vite adds to TypeScript: style sheets and files as imports. */
/// <reference types="svelte" />
/// <reference types="vite/client" />

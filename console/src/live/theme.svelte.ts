/** Light, dark or as the system says; the browser remembers. */

export const THEMES = ['system', 'light', 'dark'] as const;
export type Choice = (typeof THEMES)[number];

class Theme {
  choice = $state<Choice>(stored());

  choose(choice: Choice): void {
    this.choice = choice;
    const root = document.documentElement;
    if (choice === 'system') delete root.dataset['theme'];
    else root.dataset['theme'] = choice;
    try {
      if (choice === 'system') localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, choice);
    } catch {
      // Storage is refused: the choice holds until the page is left.
    }
  }

  /** From whatever is seen now to the other one. */
  turn(): void {
    const dark = this.choice === 'dark' || (this.choice === 'system' && matchMedia('(prefers-color-scheme: dark)').matches);
    this.choose(dark ? 'light' : 'dark');
  }
}

function stored(): Choice {
  try {
    return THEMES.find((theme) => theme === localStorage.getItem(KEY)) ?? 'system';
  } catch {
    return 'system';
  }
}

const KEY = 'palisade.theme';

export const theme = new Theme();

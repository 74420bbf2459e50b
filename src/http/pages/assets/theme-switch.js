import { byId } from './elements.js';

/** The button for dark colours: what is chosen here outlasts the page, else the system decides. */
export function attendThemeSwitch() {
  const button = byId('theme', HTMLButtonElement);
  const system = matchMedia('(prefers-color-scheme: dark)');
  const root = document.documentElement;
  const isDark = () => (root.dataset['theme'] === undefined ? system.matches : root.dataset['theme'] === 'dark');
  const show = () => button.setAttribute('aria-pressed', String(isDark()));
  button.addEventListener('click', () => {
    const theme = isDark() ? 'light' : 'dark';
    root.dataset['theme'] = theme;
    try {
      localStorage.setItem('usher:theme', theme);
    } catch {
      // Then it lasts as long as the page.
    }
    show();
  });
  system.addEventListener('change', show);
  show();
}

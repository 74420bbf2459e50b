/** Before anything is drawn: the colours that were chosen here last, else those of the system. */
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem('usher:theme');
  } catch {
    // A browser that keeps nothing for this page follows the system.
  }
  if (chosen === 'dark' || chosen === 'light') document.documentElement.dataset['theme'] = chosen;
})();

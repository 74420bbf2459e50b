import { announce, iconButton, make } from './elements.js';

/**
 * Thumbs up and down, with a box for a comment once one of them is chosen.
 * @param {(rating: 'up' | 'down', comment: string) => Promise<void>} rate
 * @param {{rating: 'up' | 'down', comment: string | null} | null} given
 * @returns {{buttons: HTMLButtonElement[], box: HTMLElement}}
 */
export function ratingView(rate, given) {
  const field = make('textarea', { rows: '2', maxlength: '2000', 'aria-label': 'Comment on this answer (optional)' });
  const said = make('p', { class: 'said', role: 'status' });
  const send = make('button', { class: 'plain', type: 'submit' }, 'Send comment');
  const form = make('form', { class: 'comment', hidden: true, submit: (event) => void onSubmit(event) }, field, send);
  const up = iconButton('up', 'Good answer', () => void choose('up'));
  const down = iconButton('down', 'Bad answer', () => void choose('down'));
  /** @type {'up' | 'down' | undefined} */
  let chosen;
  /** @type {Promise<void>} */
  let saving = Promise.resolve();

  /** @param {'up' | 'down' | undefined} rating */
  function show(rating) {
    chosen = rating;
    up.setAttribute('aria-pressed', String(rating === 'up'));
    down.setAttribute('aria-pressed', String(rating === 'down'));
  }

  /** @param {'up' | 'down'} rating */
  async function choose(rating) {
    const before = chosen;
    show(rating);
    field.placeholder = rating === 'up' ? 'What was good about it?' : 'What was wrong with it?';
    said.textContent = '';
    form.hidden = false;
    field.focus();
    form.scrollIntoView({ block: 'nearest' });
    if (await kept(rating)) return announce(`Rated as ${rating === 'up' ? 'good' : 'bad'}. You may add a comment.`);
    show(before);
    form.hidden = true;
  }

  /** @param {Event} event */
  async function onSubmit(event) {
    event.preventDefault();
    if (chosen === undefined || !(await kept(chosen))) return;
    form.hidden = true;
    said.textContent = 'Thank you.';
    (chosen === 'up' ? up : down).focus();
  }

  /** @param {'up' | 'down'} rating */
  async function kept(rating) {
    const comment = field.value.trim();
    // One after the other: of two that are under way at once, the later must win.
    saving = saving.then(() => rate(rating, comment));
    try {
      await saving;
      return true;
    } catch (error) {
      saving = Promise.resolve();
      said.textContent = `Your rating was not kept. ${error instanceof Error ? error.message : ''}`;
      return false;
    }
  }

  field.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    event.stopPropagation();
    form.hidden = true;
    (chosen === 'up' ? up : down).focus();
  });
  show(given?.rating);
  field.value = given?.comment ?? '';
  return { buttons: [up, down], box: make('div', {}, form, said) };
}

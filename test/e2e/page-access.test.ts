import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { accessProblems, answered, ask, ended, inBrowser, openPageFixture, type PageFixture } from './page-fixture.ts';

inBrowser('the page for everyone', () => {
  let fixture: PageFixture;

  beforeAll(async () => {
    fixture = await openPageFixture({
      helper: {
        spec: {
          title: 'A helper with a rather long title for a narrow bar',
          description: 'Helps with a great many things.',
          page: { access: 'public', suggestions: ['When do you open?', 'Who are you?'] },
        },
      },
    });
  });
  afterAll(() => fixture?.[Symbol.asyncDispose]());

  const wide = [
    `An ${'unbreakable'.repeat(20)} word and https://www.example.com/${'path/'.repeat(40)}`,
    `| ${Array.from({ length: 12 }, (_, index) => `Column ${index}`).join(' | ')} |`,
    `| ${Array.from({ length: 12 }, () => '---').join(' | ')} |`,
    `| ${Array.from({ length: 12 }, () => 'content').join(' | ')} |`,
    '',
    '```js',
    `const line = '${'x'.repeat(300)}';`,
    '```',
    '',
    '> A quotation with `inline code` and a [link](https://www.example.com/).',
  ].join('\n');

  const looks = [
    { name: 'desktop, light', viewport: { width: 1280, height: 800 }, colorScheme: 'light' },
    { name: 'desktop, dark', viewport: { width: 1280, height: 800 }, colorScheme: 'dark' },
    { name: 'phone, light', viewport: { width: 390, height: 844 }, colorScheme: 'light' },
    { name: 'phone, dark', viewport: { width: 390, height: 844 }, colorScheme: 'dark' },
  ] as const;

  describe.each(looks)('$name', ({ viewport, colorScheme }) => {
    test('axe finds nothing, in any state of the page', async () => {
      await using visitor = await fixture.visit('helper', { viewport, colorScheme });
      const { page } = visitor;
      const problems: string[] = [];
      const check = async (state: string): Promise<void> => {
        problems.push(...(await accessProblems(page)).map((problem) => `${state}: ${problem}`));
      };
      await check('empty');
      await fixture.simulator.plan({ say: wide });
      await ask(page, 'Show me');
      await answered(page);
      await check('answered');
      await page.getByRole('button', { name: 'Bad answer' }).click();
      await check('rating');
      await fixture.simulator.plan('[[sim:cut after=5]]');
      await ask(page, 'Again');
      await ended(page).locator('.failure').waitFor();
      await check('failed');
      await fixture.simulator.plan({ tokens: 2000, tokenMs: 10 });
      await ask(page, 'And again');
      await page.locator('.answer[aria-busy] .words p').waitFor();
      await check('answering');
      await page.keyboard.press('Escape');
      if (viewport.width < 800) {
        await page.getByRole('button', { name: 'Your conversations' }).click();
        await page.getByRole('button', { name: 'Close the list' }).waitFor();
        await check('drawer');
        await page.keyboard.press('Escape');
      }
      await page.getByRole('button', { name: 'About this assistant' }).click();
      await check('about');
      expect(problems).toEqual([]);
    });
  });

  describe('the window', () => {
    test.each([
      [360, 1],
      [320, 1],
      [640, 2],
    ])('of %i px at a scale of %i shows all without scrolling sideways', async (width, deviceScaleFactor) => {
      // A zoom of 200 % halves the room: 1280 px become 640.
      await using visitor = await fixture.visit('helper', { viewport: { width, height: 640 }, deviceScaleFactor });
      const { page } = visitor;
      const overflow = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
      const stage = `(() => { const it = document.querySelector('.stage'); return it.scrollWidth - it.clientWidth; })()`;
      expect(await page.evaluate(overflow)).toBe(0);
      expect(await page.evaluate(`document.querySelector('.stage').scrollTop`)).toBe(0);
      expect(await page.locator('#to-end').isVisible()).toBe(false);
      await fixture.simulator.plan({ say: wide });
      await ask(page, `A question with ${'unbreakable'.repeat(12)} words`);
      await answered(page);
      await page.getByRole('button', { name: 'Bad answer' }).click();
      expect(await page.evaluate(overflow)).toBe(0);
      expect(await page.evaluate(stage)).toBe(0);
      expect(await page.locator('#send').isVisible()).toBe(true);
    });

    test('keeps the colours that were chosen, over a reload', async () => {
      await using visitor = await fixture.visit('helper', { colorScheme: 'light' });
      const { page } = visitor;
      const background = 'getComputedStyle(document.body).backgroundColor';
      const light = await page.evaluate(background);
      await page.getByRole('button', { name: 'Dark colours' }).click();
      const dark = await page.evaluate(background);
      expect(dark).not.toBe(light);
      await page.reload();
      expect(await page.evaluate(background)).toBe(dark);
    });

    test('narrow: the list of conversations opens as a drawer, takes the focus, and gives it back', async () => {
      await using visitor = await fixture.visit('helper', { viewport: { width: 390, height: 844 } });
      const { page } = visitor;
      const label = `document.activeElement.getAttribute('aria-label')`;
      await page.getByRole('button', { name: 'Your conversations' }).click();
      expect(await page.evaluate(label)).toBe('Close the list of conversations');
      await page.keyboard.press('Escape');
      expect(await page.evaluate(label)).toBe('Your conversations');
      expect(await page.locator('#sidebar').isVisible()).toBe(false);
    });
  });
});

import type { Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { answered, ask, ended, inBrowser, isReady, openPageFixture, type PageFixture } from './page-fixture.ts';

const words = 'Row seven has the best view of the stage and the shortest way to the bar in the interval.';

/** What it does is of no matter here: that nobody may reach the address is told to the model. */
const bookingTool = {
  kind: 'http',
  name: 'book',
  description: 'Books a seat.',
  method: 'POST',
  url: 'http://127.0.0.1:9/book',
  parameters: { type: 'object', properties: { seat: { type: 'integer' }, name: { type: 'string' } } },
  confirm: true,
};

inBrowser('talking at the page', () => {
  let fixture: PageFixture;

  beforeAll(async () => {
    fixture = await openPageFixture({
      helper: {
        spec: {
          title: 'The helper',
          description: 'Helps.',
          disclosure: 'You are talking with an AI.',
          page: { access: 'public', suggestions: ['When do you open?', 'Who are you?'] },
        },
        knowledge: { 'hours.md': '# Opening hours\n\nThe theatre opens at seven.\n' },
      },
      slow: { spec: { limits: { turnsPerMinutePerUser: 1 } } },
      lasting: { spec: { turns: { rescue: 'restart' } } },
      booking: { spec: { title: 'The helper', tools: [bookingTool] } },
      looking: { spec: { tools: [{ ...bookingTool, confirm: false }] } },
      staffed: { spec: { title: 'The helper', handover: { phrases: ['a human'] } } },
    });
  });
  beforeEach(() => fixture.simulator.clear());
  afterAll(() => fixture?.[Symbol.asyncDispose]());

  /** Says something as the visitor at this page, by the API: quicker than by the page. */
  async function sayAs(page: Page, conversation: string | undefined, text: string): Promise<void> {
    const { url, apiKey } = fixture.usher;
    const post = async (path: string, credential: string, body: object): Promise<{ id: string; token: string }> => {
      const headers = { authorization: `Bearer ${credential}`, 'content-type': 'application/json' };
      const answer = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) });
      return (await answer.json()) as { id: string; token: string };
    };
    const visitor = await page.evaluate<string>(`localStorage.getItem('usher:visitor:helper')`);
    const { sub } = JSON.parse(Buffer.from(visitor.split('.')[1] ?? '', 'base64url').toString()) as { sub: string };
    const { token } = await post('/v1/user_tokens', apiKey, { assistant: 'helper', subject: sub });
    const { id } = conversation === undefined ? await post('/v1/conversations', token, {}) : { id: conversation };
    await post('/v1/responses', token, { model: 'helper', conversation: id, input: text });
  }

  /** Asks as an operator; with a body, by POST. */
  async function openDesk() {
    const operator = await fixture.usher.key('operate');
    return async (path: string, body?: object) => {
      const headers = { authorization: `Bearer ${operator}`, 'content-type': 'application/json' };
      const sent = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
      const answer = await fetch(`${fixture.usher.url}/admin/handovers${path}`, { headers, ...sent });
      return (await answer.json()) as {
        handovers: { id: string; waiting: string | null }[];
        items: { content?: { text: string }[] }[];
      };
    };
  }

  const markdown = [
    '# Hours',
    '',
    'The theatre opens at **seven**.',
    '',
    '| Day | Hour |',
    '| --- | ---: |',
    '| Monday | 7 |',
    '',
    '```js',
    'const hour = 7;',
    '```',
    '',
    '- one',
    '- two',
  ].join('\n');

  describe('an answer', () => {
    test('of a person is waited for, shown with their name, and there again after a reload', async () => {
      await using visitor = await fixture.visit('staffed');
      const { page, complaints } = visitor;
      const operate = await openDesk();
      await ask(page, 'May I talk to a human?');
      await page.locator('.person', { hasText: 'Waiting for a person' }).waitFor();
      const { handovers } = await operate('');
      await operate(`/${handovers[0]?.id}/answers`, { text: 'Hello, how can I **help**?', name: 'Mira' });
      await answered(page);
      const check = async (): Promise<void> => {
        expect(await ended(page).locator('.person').innerText()).toBe('Mira answered.');
        const paragraphs = await ended(page).locator('.words p').allInnerTexts();
        expect(paragraphs).toEqual(['A person will answer you here.', 'Hello, how can I help?']);
      };
      await check();
      await page.reload();
      await ended(page).locator('.person').waitFor();
      await check();
      expect(complaints).toEqual([]);
    });

    test('of a person takes more meanwhile, which that person reads, and what they write unasked', async () => {
      await using visitor = await fixture.visit('staffed');
      const { page, complaints } = visitor;
      const operate = await openDesk();
      await ask(page, '[[sim:call hand_over {"reason":"A refund."}]]');
      await page.locator('.person', { hasText: 'Waiting for a person' }).waitFor();
      await page.getByText('A person will answer you here.').waitFor();
      expect(await page.locator('.waiting').isVisible()).toBe(true);
      expect(await page.locator('#stop').isVisible()).toBe(true);
      await page.fill('#say', 'It is about order 7');
      await page.locator('#send').click();
      const said = page.locator('.question p');
      await said.nth(1).waitFor();
      expect(await page.locator('#stop').isVisible()).toBe(true);
      const { handovers } = await operate('');
      const one = handovers.findLast(({ waiting }) => waiting !== null);
      const { items } = await operate(`/${one?.id}`);
      expect(items.at(-1)?.content?.[0]?.text).toBe('It is about order 7');
      await operate(`/${one?.id}/answers`, { text: 'Order 7 is on its way.', name: 'Mira' });
      await answered(page);
      await operate(`/${one?.id}/answers`, { text: 'It comes at noon.', name: 'Ben' });
      await page.reload();
      await page.getByText('It comes at noon.').waitFor();
      const [asked, unasked] = await page.locator('.exchange').all();
      expect(await asked?.locator('.question p').allInnerTexts()).toHaveLength(2);
      expect(await asked?.locator('.words').innerText()).toContain('Order 7 is on its way.');
      expect(await unasked?.locator('.question').isVisible()).toBe(false);
      expect(await unasked?.locator('.person').innerText()).toBe('Ben answered.');
      expect(await unasked?.locator('.again:visible').count()).toBe(0);
      expect(complaints).toEqual([]);
    });

    test('goes on while its person is elsewhere, listed from its beginning, and is there when they come back', async () => {
      await using visitor = await fixture.visit('staffed');
      const { page, complaints } = visitor;
      const operate = await openDesk();
      await ask(page, 'A human, please');
      const waiting = page.locator('.person', { hasText: 'Waiting for a person' });
      await waiting.waitFor();
      await page.locator('#history .name', { hasText: 'A human, please' }).waitFor();
      await page.locator('#new-in-sidebar').click();
      await ask(page, '[[sim:say Of something else]]');
      expect(await answered(page)).toBe('Of something else');
      await page.locator('#history .name', { hasText: 'A human, please' }).click();
      await waiting.waitFor();
      const open = (await operate('')).handovers.filter((one) => one.waiting !== null);
      expect(open).toHaveLength(1);
      await operate(`/${open[0]?.id}/answers`, { text: 'Here I am.', name: 'Mira' });
      await page.locator('.person', { hasText: 'Mira answered.' }).waitFor();
      expect(await ended(page).locator('.words').innerText()).toContain('Here I am.');
      expect(await ended(page).locator('.again:visible').count()).toBe(0);
      expect(complaints).toEqual([]);
    });

    test('names the sources of its marks, under their numbers, after a reload too', async () => {
      await using visitor = await fixture.visit('helper');
      const { page, complaints } = visitor;
      await fixture.simulator.plan({
        say: 'We open at seven [1], the bar as well [1]. Not marked: list[1] of `a[1]`.',
      });
      await ask(page, 'When do you open, at which opening hours?');
      await answered(page);
      const sources = ended(page).locator('.sources li');
      expect(await sources.allInnerTexts()).toEqual(['[1] Opening hours']);
      await page.reload();
      await ended(page).waitFor();
      expect(await sources.allInnerTexts()).toEqual(['[1] Opening hours']);
      expect(complaints).toEqual([]);
    });

    test('asks before a tool runs that the person has to agree to, once', async () => {
      await using visitor = await fixture.visit('booking');
      const { page, complaints } = visitor;
      await ask(page, '[[sim:call book {"seat":7,"name":"Ann"}]] [[sim:say It could not be booked.]]');
      const card = page.locator('.approval');
      await card.waitFor();
      expect(await card.locator('p').innerText()).toBe('May the assistant use book with this?');
      expect(await card.locator('dt, dd').allInnerTexts()).toEqual(['seat', '7', 'name', 'Ann']);
      await page.reload();
      await card.getByText('Allow').click();
      await answered(page);
      const check = async (): Promise<void> => {
        expect(await page.locator('.question p').last().innerText()).toBe('Allowed');
        expect(await ended(page).locator('.words').innerText()).toBe('It could not be booked.');
        expect(await card.locator('.choices').count()).toBe(0);
        expect(await card.locator('.decided').innerText()).toBe('Allowed');
        // What was decided is no question that could be asked again.
        expect(await page.locator('.again:visible').count()).toBe(0);
      };
      await check();
      await page.reload();
      await ended(page).waitFor();
      await check();
      expect(complaints).toEqual([]);
    });

    test('shows what another window decided, where this one asks still', async () => {
      await using visitor = await fixture.visit('booking');
      const { page } = visitor;
      await ask(page, '[[sim:call book {"seat":9,"name":"Ann"}]] [[sim:say It could not be booked.]]');
      await page.locator('.approval').waitFor();
      await ended(page).waitFor();
      const other = await page.context().newPage();
      await other.goto(page.url());
      await other.locator('.approval').getByText('Refuse').click();
      await answered(other);
      await other.close();
      await page.locator('.approval').getByText('Allow').click();
      await expect.poll(() => page.locator('.approval .decided').allInnerTexts()).toEqual(['Refused']);
      await page.getByText('This was decided in another window.').waitFor();
      expect(await page.locator('.question p').last().innerText()).toBe('Refused');
      expect(await ended(page).locator('.words').innerText()).toBe('It could not be booked.');
    });

    test('asks for several calls in their order, and again where the choice did not come through', async () => {
      await using visitor = await fixture.visit('booking');
      const { page } = visitor;
      await ask(
        page,
        '[[sim:call book {"seat":1}]] [[sim:call book {"seat":2,"name":{"first":"Ann"}}]] [[sim:call book {"seat":3}]]',
      );
      const cards = page.locator('.approval');
      await cards.nth(2).waitFor();
      expect(await cards.locator('> dl > dd:nth-of-type(1)').allInnerTexts()).toEqual(['1', '2', '3']);
      await ended(page).waitFor();
      await page.route('**/v1/responses', (route) => route.abort());
      await cards.nth(1).getByText('Refuse').click();
      await ended(page).locator('.failure').waitFor();
      await page.unroute('**/v1/responses');
      await cards.nth(1).getByText('Refuse').click();
      await ended(page).locator('.actions').waitFor();
      expect(await cards.locator('.decided').allInnerTexts()).toEqual(['Refused']);
    });

    test('says which tool is used while it is', async () => {
      await using visitor = await fixture.visit('looking');
      const { page } = visitor;
      await page.evaluate(`new MutationObserver((changes) => {
        for (const { target } of changes) if (target.className === 'step') (window.steps ??= []).push(target.innerText);
      }).observe(document.body, { subtree: true, childList: true })`);
      await ask(page, '[[sim:call book {"seat":1}]] [[sim:say It could not be booked.]]');
      await answered(page);
      expect(await page.evaluate('steps')).toContain('Using book …');
      expect(await page.locator('.step:visible').count()).toBe(0);
    });

    test('is shown as it comes, as markdown, and ends whole', async () => {
      await using visitor = await fixture.visit('helper');
      const { page, complaints } = visitor;
      await fixture.simulator.plan({ say: markdown, tokenMs: 60 });
      await ask(page, 'When do you open?');
      await page.locator('.answer[aria-busy] .words h3').waitFor();
      expect(await page.locator('#stop').isVisible()).toBe(true);
      await answered(page);
      const words = ended(page).locator('.words');
      expect(await words.locator('h3').innerText()).toBe('Hours');
      expect(await words.locator('strong').innerText()).toBe('seven');
      expect(await words.locator('td').allInnerTexts()).toEqual(['Monday', '7']);
      expect(await words.locator('pre').innerText()).toBe('const hour = 7;');
      expect(await words.locator('td').last().getAttribute('align')).toBe('right');
      expect(await words.locator('.code-head span').innerText()).toBe('js');
      expect(await words.locator('li').allInnerTexts()).toEqual(['one', 'two']);
      expect(await page.locator('#announce').innerText()).toContain('The helper: Hours');
      expect(complaints).toEqual([]);
    });

    test('that is stopped stops the model, and the next question is answered', async () => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      await fixture.simulator.plan({ tokens: 2000, tokenMs: 10 });
      await ask(page, 'Tell me everything');
      await page.locator('.answer[aria-busy] .words p').waitFor();
      await page.keyboard.press('Escape');
      await fixture.simulator.until((log) => log.requests.at(-1)?.end === 'aborted');
      expect(await ended(page).locator('.note').innerText()).toBe('This answer was stopped.');
      await ask(page, '[[sim:say Here I am]]');
      expect(await answered(page)).toBe('Here I am');
    });

    test('that is cut is never taken for a whole one, and is asked for again', async () => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      await fixture.simulator.plan('[[sim:cut after=5]]');
      await ask(page, 'When do you open?');
      const failure = ended(page).locator('.failure');
      const said = await failure.locator('p').innerText();
      expect(said).toContain('This answer is not whole.');
      expect(await ended(page).locator('.actions').count()).toBe(0);
      await page.reload();
      expect(await failure.locator('p').innerText()).toBe(said);
      await fixture.simulator.plan({ say: 'At seven.' });
      await failure.getByRole('button', { name: 'Try again' }).click();
      expect(await answered(page)).toBe('At seven.');
      expect(await page.locator('.question').count()).toBe(1);
      await page.reload();
      expect(await answered(page)).toBe('At seven.');
      expect(await page.locator('.question').count()).toBe(1);
      expect(await page.locator('.superseded').count()).toBe(1);
    });

    test('is given anew on request, and the earlier one stays within reach', async () => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      await fixture.simulator.plan({ say: 'First.' });
      await ask(page, 'When do you open?');
      await answered(page);
      await fixture.simulator.plan({ say: 'Second.' });
      await page.getByRole('button', { name: 'Answer again' }).click();
      await page.getByText('Second.', { exact: true }).waitFor();
      await page.getByText('Earlier answer').click();
      expect(await page.locator('.superseded .words').innerText()).toBe('First.');
    });

    test('that no backend could give is said so, with the way to ask again', async () => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      await fixture.simulator.planAll({ fault: { kind: 'reset' } });
      await ask(page, 'When does the theatre open?');
      const failure = ended(page).locator('.failure');
      expect(await failure.innerText()).toContain('Try again');
      await fixture.simulator.clear();
      await failure.getByRole('button', { name: 'Try again' }).click();
      expect(await answered(page)).not.toBe('');
    });

    test.each([
      ['by the clipboard of the browser', ''],
      ['by the older way where the page has no clipboard', `Object.defineProperty(navigator, 'clipboard', {})`],
    ])('is copied as it was written, %s', async (_how, before) => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
      const reader = await page.context().newPage();
      await reader.goto(page.url());
      await page.bringToFront();
      if (before !== '') await page.evaluate(before);
      await fixture.simulator.plan({ say: `**Seven** ${before.length}` });
      await ask(page, 'When do you open?');
      await answered(page);
      await page.getByRole('button', { name: 'Copy this answer' }).click();
      await page.locator('#announce').getByText('Copied.').waitFor({ state: 'attached' });
      await reader.bringToFront();
      expect(await reader.evaluate('navigator.clipboard.readText()')).toBe(`**Seven** ${before.length}`);
    });

    test('leaves the blocks that have ended as they are while it grows', async () => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      const paragraphs = Array.from({ length: 60 }, (_, index) => `Paragraph ${index} of a long answer.`);
      await fixture.simulator.plan({ say: paragraphs.join('\n\n'), tokenMs: 4 });
      await ask(page, 'Tell me everything');
      await page.getByText('Paragraph 3 of').waitFor();
      await page.evaluate(`document.querySelector('.words p').setAttribute('data-same', 'yes')`);
      await answered(page);
      expect(await page.locator('.words p').count()).toBe(60);
      expect(await page.locator('.words p').first().getAttribute('data-same')).toBe('yes');
    });

    test('is followed only as far as its question stays in sight', async () => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      const paragraphs = Array.from({ length: 80 }, (_, index) => `Paragraph ${index}.`);
      await fixture.simulator.plan({ say: paragraphs.join('\n\n') });
      await ask(page, 'Tell me everything');
      await answered(page);
      const topPx = await page.evaluate<number>(`document.querySelector('.question').getBoundingClientRect().top`);
      expect(topPx).toBeGreaterThan(0);
      await page.getByRole('button', { name: 'Go to the newest message' }).click();
      await page.getByText('Paragraph 79.', { exact: true }).waitFor();
      expect(await page.locator('#to-end').isVisible()).toBe(false);
    });
  });

  describe('what was said', () => {
    test('is there again after a reload, with its rating, and in the list of conversations', async () => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      await fixture.simulator.plan({ say: 'At seven.' });
      await ask(page, 'When do you open on Sundays?');
      await answered(page);
      await page.getByRole('button', { name: 'Bad answer' }).click();
      await page.getByRole('textbox', { name: 'Comment on this answer' }).fill('It is closed on Sundays.');
      await page.getByRole('button', { name: 'Send comment' }).click();
      await page.getByText('Thank you.').waitFor();
      await page.reload();
      expect(await answered(page)).toBe('At seven.');
      expect(await page.getByRole('button', { name: 'Bad answer' }).getAttribute('aria-pressed')).toBe('true');
      expect(await page.locator('.comment textarea').inputValue()).toBe('It is closed on Sundays.');
      expect(await page.locator('.conversation .name').allInnerTexts()).toEqual(['When do you open on Sundays?']);
    });

    test('is deleted on confirmation, on the server too', async () => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      await ask(page, '[[sim:say Yes]]');
      await answered(page);
      const address = page.url();
      const entry = page.locator('.history li');
      await entry.hover();
      await entry.getByRole('button', { name: /^Delete/ }).click();
      await page.getByRole('button', { name: 'Keep it' }).click();
      expect(await entry.count()).toBe(1);
      await entry.hover();
      await entry.getByRole('button', { name: /^Delete/ }).click();
      await page.getByRole('button', { name: 'Delete', exact: true }).click();
      await entry.waitFor({ state: 'detached' });
      await page.goto('about:blank');
      await page.goto(address);
      await page.getByText('not there any more').waitFor();
    });

    test('is not there for another visitor', async () => {
      await using first = await fixture.visit('helper');
      await ask(first.page, '[[sim:say It is a secret]]');
      await answered(first.page);
      await using second = await fixture.visit('helper');
      await second.page.goto(first.page.url());
      await second.page.getByText('not there any more').waitFor();
      expect(await second.page.locator('.exchange').count()).toBe(0);
    });

    test('is shown from its end, and before that on request, each question with its answer', async () => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      await ask(page, '[[sim:say Answer 0]]');
      await answered(page);
      const conversation = new URL(page.url()).hash.slice(1);
      for (let count = 1; count <= 35; count += 1) {
        // As the same person: a turn that failed leaves a question without an answer between the others.
        const text = count % 10 === 0 ? '[[sim:500]]' : `[[sim:say Answer ${count}]]`;
        await sayAs(page, conversation, text);
      }
      await page.reload();
      await page.getByText('Answer 35', { exact: true }).waitFor();
      expect(await page.getByText('Answer 0', { exact: true }).count()).toBe(0);
      await page.getByRole('button', { name: 'Show earlier messages' }).click();
      await page.getByText('Answer 0', { exact: true }).waitFor({ state: 'attached' });
      expect(await page.locator('.question').count()).toBe(36);
      expect(await page.locator('.answer .actions').count()).toBe(33);
      expect(await page.locator('.answer .failure').count()).toBe(3);
      const answers = await page.locator('.words p').allInnerTexts();
      expect(answers).toEqual([...answers].sort((a, b) => Number(a.split(' ')[1]) - Number(b.split(' ')[1])));
      expect(await page.getByRole('button', { name: 'Show earlier messages' }).isVisible()).toBe(false);
    });

    test('is listed page by page', async () => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      for (let count = 1; count <= 33; count += 1) await sayAs(page, undefined, `[[sim:say Yes]] ${count}`);
      await page.reload();
      await page.locator('.conversation').first().waitFor();
      expect(await page.locator('.conversation').count()).toBe(30);
      await page.getByRole('button', { name: 'Show older ones' }).click();
      await page.locator('.conversation').nth(32).waitFor();
      expect(
        await page.evaluate(
          `document.activeElement.dataset.id === document.querySelectorAll('.conversation')[30].dataset.id`,
        ),
      ).toBe(true);
      expect(await page.getByRole('button', { name: 'Show older ones' }).isVisible()).toBe(false);
    });

    test('goes on after the conversation was deleted elsewhere', async () => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      await ask(page, '[[sim:say One]]');
      await answered(page);
      const other = await page.context().newPage();
      await other.goto(page.url());
      await other.locator('.history li').hover();
      await other
        .locator('.history li')
        .getByRole('button', { name: /^Delete/ })
        .click();
      await other.getByRole('button', { name: 'Delete', exact: true }).click();
      await other.locator('.history li').waitFor({ state: 'detached' });
      await ask(page, '[[sim:say Two]]');
      const failure = ended(page).locator('.failure');
      expect(await failure.innerText()).toContain('deleted elsewhere');
      await failure.getByRole('button', { name: 'Try again' }).click();
      expect(await answered(page)).toBe('Two');
    });

    test('goes on with an answer after a reload in the middle of it', async () => {
      await using visitor = await fixture.visit('lasting');
      const { page } = visitor;
      await fixture.simulator.plan({ say: words, tokenMs: 200 });
      await ask(page, 'Tell me everything');
      await page.locator('.answer[aria-busy] .words p').waitFor();
      await page.reload();
      expect(await answered(page)).toBe(words);
      expect(await page.locator('.question').count()).toBe(1);
    });

    test('goes on with an answer after the death of the server, without a word', { timeout: 60_000 }, async () => {
      await using visitor = await fixture.visit('lasting');
      const { page } = visitor;
      await ask(page, `[[sim:pace 200]] [[sim:say ${words}]]`);
      await page.locator('.answer[aria-busy] .words p').waitFor();
      await fixture.usher.kill();
      await page.locator('.step', { hasText: 'Waiting for the server' }).waitFor();
      await fixture.usher.restart();
      expect(await answered(page)).toBe(words);
      expect(await page.locator('.failure').count()).toBe(0);
      expect(await page.locator('.step:visible').count()).toBe(0);
      await page.reload();
      expect(await answered(page)).toBe(words);
    });

    test('shows an answer that the death of the server broke as broken, where the owner wants no other', async () => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      await ask(page, '[[sim:say Kept]]');
      await answered(page);
      await fixture.simulator.plan({ tokens: 2000, tokenMs: 10 });
      await ask(page, 'Tell me everything');
      await page.locator('.answer[aria-busy] .words p').waitFor();
      await fixture.usher.kill();
      await fixture.usher.restart();
      expect(await ended(page).locator('.failure').innerText()).toContain('not whole');
      await page.reload();
      await page.getByText('Kept', { exact: true }).waitFor();
      expect(await ended(page).locator('.failure').innerText()).toContain('not whole');
    });
  });

  describe('what goes wrong is said in words', () => {
    test('a limit counts down, and then the question may be asked again', async () => {
      await using visitor = await fixture.visit('slow');
      const { page } = visitor;
      await ask(page, '[[sim:say One]]');
      await answered(page);
      await ask(page, '[[sim:say Two]]');
      const failure = ended(page).locator('.failure');
      expect(await failure.innerText()).toMatch(/in a moment\. \d+ s/);
      expect(await failure.getByRole('button', { name: 'Try again' }).isDisabled()).toBe(true);
    });

    test.each([
      ['429', 'The model has too much to do right now.'],
      ['context_length_exceeded', 'This conversation is too long for the model.'],
    ])('what the model refuses, now and after a reload: %s', async (command, words) => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      await fixture.simulator.planAll(`[[sim:${command}]]`);
      await ask(page, 'When do you open?');
      const failure = ended(page).locator('.failure');
      expect(await failure.innerText()).toContain(words);
      await page.reload();
      expect(await failure.innerText()).toContain(words);
    });

    test('without a connection', async () => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      await page.context().setOffline(true);
      await page.locator('#notice').getByText('You are offline').waitFor();
      await ask(page, '[[sim:say Back again]]');
      expect(await ended(page).locator('.failure').innerText()).toContain('You are offline');
      await page.context().setOffline(false);
      await ended(page).getByRole('button', { name: 'Try again' }).click();
      expect(await answered(page)).toBe('Back again');
    });

    test('a token that has ended is renewed without a word', async () => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      let refused = 0;
      await page.route('**/v1/conversations', async (route) => {
        refused += 1;
        const headers = route.request().headers();
        await route.continue(refused > 1 ? {} : { headers: { ...headers, authorization: 'Bearer ended' } });
      });
      await ask(page, '[[sim:say Still here]]');
      expect(await answered(page)).toBe('Still here');
      expect(refused).toBe(2);
    });
  });

  describe('a visitor', () => {
    test('is told that this is an AI, what it is for, and which release answers', async () => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      expect(await page.locator('#disclosure').innerText()).toBe('You are talking with an AI.');
      await page.getByRole('button', { name: 'About this assistant' }).click();
      expect(await page.locator('#release').innerText()).toMatch(/^[0-9a-f]{12}$/);
    });

    test('is the same person on the next visit, and nobody to a second assistant', async () => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      await ask(page, '[[sim:say Hello]]');
      await answered(page);
      await page.goto(`${fixture.usher.url}/chat/helper`);
      await page.locator('.conversation').waitFor();
      await page.goto(`${fixture.usher.url}/chat/slow`);
      await isReady(page);
      expect(await page.locator('.conversation').count()).toBe(0);
    });

    test('who presses Enter before the page listens is heard once it does', async () => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      const early = Promise.withResolvers<void>();
      await page.route('**/composer.js', async (route) => {
        await early.promise;
        await route.continue();
      });
      await page.goto(`${fixture.usher.url}/chat/helper`, { waitUntil: 'commit' });
      await ask(page, '[[sim:say Early bird]]');
      expect(await page.locator('#say').inputValue()).toBe('[[sim:say Early bird]]\n');
      early.resolve();
      expect(await answered(page)).toBe('Early bird');
      expect(await page.locator('#say').inputValue()).toBe('');
    });

    test('can do everything by the keyboard', async () => {
      await using visitor = await fixture.visit('helper');
      const { page } = visitor;
      const focus = (): Promise<string> =>
        page.evaluate(`document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim()`);
      const first = page.locator('a, button, textarea').first();
      expect(await first.innerText()).toBe('Skip to the message box');
      await first.focus();
      await page.keyboard.press('Enter');
      await page.keyboard.type('one');
      await page.keyboard.press('Shift+Enter');
      await page.keyboard.type('two [[sim:say Three]]');
      await page.keyboard.press('Enter');
      expect(await answered(page)).toBe('Three');
      expect(await page.locator('.question p').innerText()).toBe('one\ntwo [[sim:say Three]]');
      await page.keyboard.press('Shift+Tab');
      expect(await focus()).toBe('Answer again');
      await page.keyboard.press('Shift+Tab');
      await page.keyboard.press('Enter');
      await page.keyboard.type('Too short.');
      await page.keyboard.press('Tab');
      await page.keyboard.press('Enter');
      await page.getByText('Thank you.').waitFor();
      expect(await focus()).toBe('Bad answer');
    });
  });
});

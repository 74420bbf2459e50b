import { readFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import type { Frame, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchChromium } from '#test/chromium';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';
import type { Browser } from 'playwright-core';
import { accessProblems, answered, ask, inBrowser, isReady, openSite, openVisitor } from './page-fixture.ts';

type Site = Awaited<ReturnType<typeof openSite>>;

inBrowser('the widget on a site', () => {
  let simulator: ModelSimulator;
  let usher: UsherProcess;
  let browser: Browser;
  /** What the embedding page says; each test sets its own. */
  let tag = '';
  let head = '';
  let friend: Site;
  let stranger: Site;

  beforeAll(async () => {
    const page = (): string =>
      `<!doctype html><html lang="en"><head>${head}<title>A shop</title></head><main><h1>A shop</h1><button id="own">Buy</button></main>${tag}</html>`;
    friend = await openSite(page);
    stranger = await openSite(page);
    simulator = await startModelSimulator();
    const origins = [friend.origin];
    usher = await startUsher(
      usherFiles([simulator.baseUrl], {
        assistants: {
          helper: { spec: { title: 'The helper', page: { access: 'public', origins } } },
          members: { spec: { page: { access: 'token', origins } } },
          plain: {},
        },
      }),
    );
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser?.close();
    await usher?.stop();
    await simulator?.stop();
    await friend?.[Symbol.asyncDispose]();
    await stranger?.[Symbol.asyncDispose]();
  });

  function embed(assistant: string, attributes = ''): void {
    head = '';
    tag = `<script src="${usher.url}/widget.js" data-assistant="${assistant}" ${attributes} async></script>`;
  }

  async function openChat(page: Page): Promise<Frame> {
    await page.getByRole('button', { name: 'Chat' }).click();
    const handle = await page.locator('iframe').elementHandle();
    const frame = await handle?.contentFrame();
    if (frame == null) throw new Error('the widget opened no frame');
    return frame;
  }

  /** For the browser: a style of an element within the widget. */
  const styleOf = (element: string, property: string): string =>
    `getComputedStyle(document.querySelector('usher-chat').shadowRoot.querySelector('${element}')).${property}`;

  async function userToken(subject: string): Promise<string> {
    const answer = await fetch(`${usher.url}/v1/user_tokens`, {
      method: 'POST',
      headers: { authorization: `Bearer ${usher.apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ assistant: 'members', subject }),
    });
    return ((await answer.json()) as { token: string }).token;
  }

  describe('on a site that the assistant allows', () => {
    test('the chat opens from its button, answers, closes with Escape, and gives the focus back', async () => {
      embed('helper');
      await using visitor = await openVisitor(browser);
      const { page, complaints } = visitor;
      await page.goto(friend.origin);
      const frame = await openChat(page);
      await isReady(frame);
      expect(await frame.evaluate('document.activeElement.id')).toBe('say');
      await ask(frame, '[[sim:say Hello from the frame]]');
      expect(await answered(frame)).toBe('Hello from the frame');
      await page.keyboard.press('Escape');
      await page.locator('iframe').waitFor({ state: 'hidden' });
      expect(await page.evaluate(`document.querySelector('usher-chat').shadowRoot.activeElement?.localName`)).toBe(
        'button',
      );
      await page.evaluate('Usher.open()');
      await frame.getByText('Hello from the frame', { exact: true }).waitFor();
      await frame.getByRole('button', { name: 'Close the chat' }).click();
      await page.locator('iframe').waitFor({ state: 'hidden' });
      expect(complaints).toEqual([]);
    });

    test('what was said is there on the next page of the site', async () => {
      embed('helper');
      await using visitor = await openVisitor(browser);
      const { page } = visitor;
      await page.goto(friend.origin);
      const frame = await openChat(page);
      await isReady(frame);
      await ask(frame, '[[sim:say Still with you]]');
      await answered(frame);
      await page.goto(`${friend.origin}/basket`);
      const next = await openChat(page);
      expect(await answered(next)).toBe('Still with you');
    });

    test('axe finds nothing in the site around it and in the frame, on a phone too', async () => {
      embed('helper');
      for (const viewport of [
        { width: 1280, height: 800 },
        { width: 390, height: 844 },
      ]) {
        await using visitor = await openVisitor(browser, { viewport });
        const { page } = visitor;
        await page.goto(friend.origin);
        await page.getByRole('button', { name: 'Chat' }).waitFor();
        expect(await accessProblems(page)).toEqual([]);
        const frame = await openChat(page);
        await isReady(frame);
        expect(await accessProblems(frame)).toEqual([]);
        const size = await page.locator('iframe').boundingBox();
        if (viewport.width < 500) expect(size).toMatchObject({ x: 0, y: 0, ...viewport });
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(viewport.width);
      }
    });

    test('its button takes the words, the side and the colour of the tag', async () => {
      embed('helper', 'data-label="Ask us" data-position="left" data-color="#7a1f3d"');
      await using visitor = await openVisitor(browser);
      const { page } = visitor;
      await page.goto(friend.origin);
      const button = page.getByRole('button', { name: 'Ask us' });
      const box = await button.boundingBox();
      expect(box?.x).toBeLessThan(100);
      expect(await page.evaluate(styleOf('button', 'backgroundColor'))).toBe('rgb(122, 31, 61)');
    });

    test('works under a strict policy of the site', async () => {
      embed('helper');
      const policy = `default-src 'none'; script-src ${usher.url}; frame-src ${usher.url}`;
      head = `<meta http-equiv="content-security-policy" content="${policy}">`;
      await using visitor = await openVisitor(browser);
      const { page, complaints } = visitor;
      await page.goto(friend.origin);
      const frame = await openChat(page);
      await isReady(frame);
      expect(await page.evaluate(styleOf('iframe', 'borderRadius'))).toBe('16px');
      expect(complaints.filter((text) => !text.includes('favicon'))).toEqual([]);
    });
  });

  describe('where the assistant does not allow it', () => {
    test.each([
      ['a stranger', 'helper', (): Site => stranger],
      ['a friend of another assistant', 'plain', (): Site => friend],
    ])('%s gets no frame, and is told what to check', async (_who, assistant, site) => {
      embed(assistant);
      await using visitor = await openVisitor(browser);
      const { page, complaints } = visitor;
      await page.goto(site().origin);
      await openChat(page);
      await expect.poll(() => complaints.join()).toContain('frame-ancestors');
      // What the browser shows in its place cannot be closed, and fills a phone.
      await page.getByRole('button', { name: 'The chat did not open. Try again' }).waitFor();
      expect(await page.locator('iframe').count()).toBe(0);
      expect(complaints.join()).toContain(`page.origins of its assistant.yaml lists ${site().origin}`);
    });

    test('a frame that pretends to be in a friend is refused as well', async () => {
      tag = `<iframe src="${usher.url}/chat/helper?embed=1&from=${encodeURIComponent(friend.origin)}"></iframe>`;
      await using visitor = await openVisitor(browser);
      const { page, complaints } = visitor;
      await page.goto(stranger.origin);
      await expect.poll(() => complaints.join()).toContain('frame-ancestors');
    });

    test('the page itself is never framed, not even by a friend', async () => {
      tag = `<iframe src="${usher.url}/chat/helper"></iframe>`;
      await using visitor = await openVisitor(browser);
      const { page, complaints } = visitor;
      await page.goto(friend.origin);
      await expect.poll(() => complaints.join()).toContain('frame-ancestors');
    });
  });

  describe('people who are signed in', () => {
    test('talk with the token of their application, and find their conversations anywhere', async () => {
      embed('members', `data-token="${await userToken('ann')}"`);
      await using first = await openVisitor(browser);
      await first.page.goto(friend.origin);
      const frame = await openChat(first.page);
      await isReady(frame);
      await ask(frame, '[[sim:say Welcome, Ann]]');
      await answered(frame);
      await using second = await openVisitor(browser);
      await second.page.goto(friend.origin);
      const other = await openChat(second.page);
      await isReady(other);
      await other.getByRole('button', { name: 'Your conversations' }).click();
      await other.locator('.conversation').click();
      expect(await answered(other)).toBe('Welcome, Ann');
    });

    // The same person's: with another's, what was asked meanwhile would rightly be gone.
    test('a token that ends is asked for from the application', async () => {
      embed('members', 'data-token="eyJhbGciOiJub25lIn0.eyJleHAiOjk5OTk5OTk5OTksInN1YiI6ImJvYiJ9.ended"');
      const fresh = await userToken('bob');
      await using visitor = await openVisitor(browser);
      const { page } = visitor;
      await page.addInitScript(`addEventListener('usher:token-wanted', (event) => event.detail.setToken('${fresh}'))`);
      await page.goto(friend.origin);
      const frame = await openChat(page);
      await ask(frame, '[[sim:say Hello, Bob]]');
      expect(await answered(frame)).toBe('Hello, Bob');
    });

    test('somebody else who signs in sees nothing of the one before', async () => {
      embed('members', `data-token="${await userToken('carol')}"`);
      const other = await userToken('dave');
      await using visitor = await openVisitor(browser);
      const { page } = visitor;
      await page.goto(friend.origin);
      const frame = await openChat(page);
      await isReady(frame);
      await ask(frame, '[[sim:say Hello, Carol]]');
      await answered(frame);
      await frame.locator('.conversation').waitFor({ state: 'attached' });
      await page.evaluate(`Usher.setToken('${other}')`);
      await frame.locator('.exchange').waitFor({ state: 'detached' });
      await frame.locator('.conversation').waitFor({ state: 'detached' });
      await page.evaluate('Usher.setToken(null)');
      await frame.getByText('Open it from the application').waitFor();
      await page.evaluate(`Usher.setToken('${other}')`);
      await isReady(frame);
      expect(await frame.locator('#notice').isVisible()).toBe(false);
    });

    test('without a token they are told to sign in', async () => {
      embed('members');
      await using visitor = await openVisitor(browser);
      const { page } = visitor;
      await page.goto(friend.origin);
      const frame = await openChat(page);
      await frame.getByText('signed in').waitFor();
      expect(await frame.locator('#say').isDisabled()).toBe(true);
    });
  });

  test('the script is below 4 KB on the wire', async () => {
    const answer = await fetch(`${usher.url}/widget.js`, { headers: { 'accept-encoding': 'gzip' } });
    expect(answer.headers.get('content-encoding')).toBe('gzip');
    const file = await readFile(new URL('../../src/http/pages/assets/widget.js', import.meta.url));
    expect(await answer.text()).toBe(file.toString());
    expect(gzipSync(file, { level: 9 }).length).toBeLessThan(4096);
  });
});

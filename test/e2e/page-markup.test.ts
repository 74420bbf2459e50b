import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startUsher } from '#test/process';
import { usherFiles } from '#test/usher-files';
import {
  answered,
  ask,
  ended,
  inBrowser,
  isReady,
  openPageFixture,
  openVisitor,
  type PageFixture,
} from './page-fixture.ts';

const hostile = `"><script>globalThis.pwned = 1</script><img src=x onerror="globalThis.pwned = 1">`;

inBrowser('what others wrote, at the page', () => {
  let fixture: PageFixture;

  beforeAll(async () => {
    fixture = await openPageFixture({
      hostile: {
        spec: {
          title: hostile.slice(0, 80),
          description: hostile,
          disclosure: `AI ${hostile}`,
          page: { access: 'public', suggestions: [hostile] },
        },
      },
      other: {},
    });
  });
  afterAll(() => fixture?.[Symbol.asyncDispose]());

  /** Each would run, or would load something from elsewhere, in a page that trusted it. */
  const payloads = [
    '<script>globalThis.pwned = 1</script>',
    '<img src=x onerror="globalThis.pwned = 1">',
    '<svg onload="globalThis.pwned = 1"><animate onbegin="globalThis.pwned = 1" attributeName=x dur=1s>',
    '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=globalThis.pwned=1&gt;">',
    '<svg></p><style><a id="</style><img src=1 onerror=globalThis.pwned=1>">',
    '<noscript><p title="</noscript><img src=x onerror=globalThis.pwned=1>">',
    '<form><math><mtext></form><form><mglyph><style></math><img src onerror=globalThis.pwned=1>',
    '<iframe srcdoc="<script>parent.pwned = 1</script>"></iframe>',
    '<iframe src="javascript:parent.pwned = 1"></iframe>',
    '<object data="javascript:globalThis.pwned = 1"></object><embed src="javascript:globalThis.pwned = 1">',
    '<base href="https://evil.example/"><meta http-equiv="refresh" content="0;url=https://evil.example/">',
    '<a href="javascript:globalThis.pwned = 1">click</a>',
    '[click](javascript:globalThis.pwned=1)',
    '[click](JaVaScRiPt:globalThis.pwned=1 "title")',
    '[click](&#106;avascript:globalThis.pwned=1)',
    '[click](java\tscript:globalThis.pwned=1)',
    '[click](data:text/html,<script>globalThis.pwned=1</script>)',
    '[click](vbscript:globalThis.pwned=1)',
    '[click]: javascript:globalThis.pwned=1\n\n[click]',
    '<javascript:globalThis.pwned=1>',
    '![x](javascript:globalThis.pwned=1)',
    '![x" onerror="globalThis.pwned=1](https://evil.example/tracker.png)',
    '![x](https://evil.example/tracker.png "a\\" onerror=\\"globalThis.pwned=1")',
    '```js" onclick="globalThis.pwned=1\ncode\n```',
    '```\n</code></pre><script>globalThis.pwned=1</script>\n```',
    '`</code><script>globalThis.pwned=1</script>`',
    '# <img src=x onerror=globalThis.pwned=1>',
    '| <img src=x onerror=globalThis.pwned=1> | <script>globalThis.pwned=1</script> |\n| --- | --- |\n| <br onclick=globalThis.pwned=1> | <style>*{display:none}</style> |',
    '<div style="position:fixed;inset:0;background:red">cover</div>',
    '<input autofocus onfocus="globalThis.pwned=1">',
    '<a id="say" name="main">clobber</a><form id="composer"></form>',
  ];

  /** What an answer may consist of. */
  const allowed =
    'a blockquote br button code del div em h3 h4 h5 h6 hr li ol p pre span strong svg table tbody td th thead tr ul use'.split(
      ' ',
    );

  interface Findings {
    readonly pwned: unknown;
    readonly tags: readonly string[];
    readonly attributes: readonly string[];
    readonly links: readonly string[];
  }

  const inspect = `(() => {
  const all = [...document.querySelectorAll('.words *')];
  for (const element of all) {
    if (element.matches('button')) continue;
    for (const type of ['click', 'focus', 'mouseover', 'error', 'load', 'begin'])
      element.dispatchEvent(new Event(type, { bubbles: true, cancelable: true }));
  }
  return {
    pwned: globalThis.pwned,
    tags: [...new Set(all.map((element) => element.localName))],
    attributes: [...new Set(all.flatMap((element) => element.getAttributeNames()))],
    links: all.filter((element) => element.matches('a')).map((link) => link.getAttribute('href')),
  };
})()`;

  describe('what a model writes', () => {
    test.each(payloads)('is shown and never run: %j', async (payload) => {
      await using visitor = await fixture.visit('other');
      const { page, complaints } = visitor;
      const foreign: string[] = [];
      page.on('request', (request) => {
        if (!request.url().startsWith(fixture.usher.url) && !request.url().startsWith('data:'))
          foreign.push(request.url());
      });
      // In pieces, so that every unfinished state is drawn as well; the text around it must survive.
      await fixture.simulator.plan({ say: `before\n\n${payload}\n\nafter`, tokenMs: 2 });
      await ask(page, 'Say it');
      const text = await answered(page);
      expect(text).toContain('before');
      const { pwned, tags, attributes, links } = await page.evaluate<Findings>(inspect);
      expect(pwned).toBeUndefined();
      expect(tags.filter((tag) => !allowed.includes(tag))).toEqual([]);
      expect(attributes.filter((name) => /^(on|style|id|name|src)/.test(name))).toEqual([]);
      expect(links.filter((href) => !/^(https?|mailto):/.test(href))).toEqual([]);
      expect(foreign).toEqual([]);
      expect(complaints).toEqual([]);
    });

    test('links open elsewhere, without a way back to the page', async () => {
      await using visitor = await fixture.visit('other');
      const { page } = visitor;
      await fixture.simulator.plan({ say: '[site](https://www.example.com/) and [mail](mailto:a@example.com)' });
      await ask(page, 'Say it');
      await answered(page);
      const links = ended(page).locator('.words a');
      expect(await links.count()).toBe(2);
      expect(await links.first().getAttribute('rel')).toBe('noopener noreferrer');
      expect(await links.first().getAttribute('target')).toBe('_blank');
    });
  });

  test('what an owner writes about an assistant is text, wherever it stands', async () => {
    await using visitor = await fixture.visit('hostile');
    const { page, complaints } = visitor;
    expect(await page.locator('.opening-text').innerText()).toBe(hostile);
    expect(await page.locator('.suggestion').innerText()).toBe(hostile);
    expect(await page.locator('#disclosure').innerText()).toBe(`AI ${hostile}`);
    expect(await page.locator('h1').innerText()).toBe(hostile.slice(0, 80));
    await fixture.simulator.plan({ say: 'Hello.' });
    await page.locator('.suggestion').click();
    await answered(page);
    expect(await page.evaluate('globalThis.pwned')).toBeUndefined();
    expect(await page.locator('.conversation .name').innerText()).toContain('<script>');
    await page.goto(fixture.usher.url);
    expect(await page.locator('.assistants strong').first().innerText()).toBe(hostile.slice(0, 80));
    expect(await page.evaluate('globalThis.pwned')).toBeUndefined();
    expect(complaints).toEqual([]);
  });

  test('an answer from the knowledge names its sources beneath it, after a reload too', async () => {
    const { files } = usherFiles([], {
      assistants: { quoting: { knowledge: { 'hours.md': '# Opening hours\n\nThe theatre opens at seven.\n' } } },
    });
    const config = JSON.stringify({
      backends: [{ name: 'quotes', kind: 'knowledge' }],
      tenants: [{ id: 'default', assistants: [{ name: 'quoting', folder: './quoting' }] }],
    });
    await using usher = await startUsher({ config, files });
    await using visitor = await openVisitor(fixture.browser);
    const { page } = visitor;
    await page.goto(`${usher.url}/`);
    await isReady(page);
    await ask(page, 'When does the theatre open?');
    expect(await answered(page)).toContain('The theatre opens at seven.');
    const sources = ended(page).locator('.sources li');
    expect(await sources.allInnerTexts()).toEqual(['Opening hours']);
    await page.reload();
    await answered(page);
    expect(await sources.allInnerTexts()).toEqual(['Opening hours']);
  });
});

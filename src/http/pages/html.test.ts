import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type HtmlValue, html } from './html.js';

describe('html', () => {
  const cases: readonly (readonly [value: HtmlValue, printed: string])[] = [
    ['plain', 'plain'],
    ['', ''],
    [undefined, ''],
    [0, '0'],
    ['<script>alert(1)</script>', '&lt;script&gt;alert(1)&lt;/script&gt;'],
    ['" onfocus="x', '&quot; onfocus=&quot;x'],
    ["' onfocus='x", '&#39; onfocus=&#39;x'],
    ['&lt;', '&amp;lt;'],
    [['<', '>'], '&lt;&gt;'],
    [['<', [html`<b>${'<'}</b>`]], '&lt;<b>&lt;</b>'],
    [html`<i>${'&'}</i>`, '<i>&amp;</i>'],
  ];
  for (const [value, printed] of cases) {
    test(`${JSON.stringify(value) ?? 'nothing'} is printed as ${JSON.stringify(printed)}`, () => {
      assert.equal(String(html`<p title="${value}">${value}</p>`), `<p title="${printed}">${printed}</p>`);
    });
  }

  test('what only looks like HTML of ours is escaped', () => {
    const forged = { toString: () => '<b>' } as unknown as HtmlValue;
    assert.throws(() => html`${forged}`, 'an object that is no Html is printed');
  });
});

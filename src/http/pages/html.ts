/** Text that is HTML already: only `html` makes it, so that nothing unescaped gets into a page. */
export class Html {
  readonly #text: string;

  private constructor(text: string) {
    this.#text = text;
  }

  /** For `html` alone. */
  static ofTemplate(text: string): Html {
    return new Html(text);
  }

  toString(): string {
    return this.#text;
  }
}

/** What may stand in a template: texts are escaped, what is absent is nothing. */
export type HtmlValue = string | number | Html | undefined | readonly HtmlValue[];

/**
 * A tagged template that escapes what is put into it, for element content and for attribute values in double quotes. Not
 * for scripts, styles and attributes that hold either: there are none in our pages.
 */
export function html(template: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  const pieces = template.map((piece, i) => piece + print(values[i]));
  return Html.ofTemplate(pieces.join(''));
}

function print(value: HtmlValue): string {
  if (value === undefined) return '';
  if (value instanceof Html) return value.toString();
  if (typeof value === 'object') return value.map(print).join('');
  return escaped(String(value));
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? '');
}

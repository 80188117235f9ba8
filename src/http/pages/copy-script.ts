/**
 * Gives each line a button that copies it. Everything else on our pages works without scripts, so the buttons are made
 * here and are not there otherwise. Browsers have a clipboard on https and localhost only; elsewhere the old command
 * does.
 */
export const copyScript = `'use strict';
(() => {
  const status = document.getElementById('copy-status');
  const hidden = (text) => {
    const span = document.createElement('span');
    span.className = 'hidden';
    span.textContent = text;
    return span;
  };
  const select = (code) => {
    const range = document.createRange();
    range.selectNodeContents(code);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  };
  const copy = async (code) => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      return true;
    } catch {
      select(code);
      return document.execCommand('copy');
    }
  };
  for (const line of document.querySelectorAll('[data-copy]')) {
    const code = line.querySelector('code');
    const word = document.createElement('span');
    word.textContent = 'Copy';
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'copy';
    button.append(word, hidden(' ' + line.dataset.copy));
    let timer;
    button.addEventListener('click', async () => {
      const done = await copy(code);
      word.textContent = done ? 'Copied' : 'Copy';
      status.textContent = '';
      status.textContent = done
        ? 'Copied ' + line.dataset.copy
        : 'Not copied: the text is selected, copy it with your keyboard';
      clearTimeout(timer);
      timer = setTimeout(() => {
        word.textContent = 'Copy';
      }, 4000);
    });
    line.classList.add('copies');
    line.append(button);
  }
})();
`;

/** The style sheet of all pages: the system's fonts, nothing from elsewhere, light and dark as the reader has it. */
export const pageStyle = `:root {
  color-scheme: light dark;
  --ground: #f6f7f9;
  --sheet: #ffffff;
  --text: #1c2430;
  --quiet: #4e5a6b;
  --edge: #cdd4de;
  --control-edge: #7b8798;
  --accent: #1f5fae;
  --on-accent: #ffffff;
  --accent-strong: #174a89;
  --code: #eef1f5;
  --good: #17603a;
  --good-ground: #e7f4ec;
  --danger: #a32020;
  --focus: #b25000;
}

@media (prefers-color-scheme: dark) {
  :root {
    --ground: #12161c;
    --sheet: #1a2029;
    --text: #e5e9ef;
    --quiet: #aab4c2;
    --edge: #343e4c;
    --control-edge: #77849a;
    --accent: #8ab8f2;
    --on-accent: #0d1a2b;
    --accent-strong: #b0d0f8;
    --code: #11151b;
    --good: #8fd6ae;
    --good-ground: #15291f;
    --danger: #ff9d97;
    --focus: #ffb866;
  }
}

* { box-sizing: border-box; }

html { font: 100%/1.55 system-ui, sans-serif; color: var(--text); background: var(--ground); }

body { margin: 0; overflow-wrap: anywhere; }

h1, h2, h3 { line-height: 1.25; }
h1 { font-size: 1.75rem; margin: 0 0 .75rem; }
h2 { font-size: 1.2rem; margin: 0 0 .75rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { margin: 0 0 1rem; }
a { color: var(--accent); }
.quiet { color: var(--quiet); }

:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; }
main:focus { outline: none; }

.skip { position: absolute; left: -100vw; padding: .5rem 1rem; background: var(--sheet); z-index: 1; }
.skip:focus { left: .5rem; top: .5rem; }

.hidden {
  position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden;
  clip-path: inset(50%); white-space: nowrap;
}

body > header, main { max-width: 54rem; margin: 0 auto; padding: 0 1rem; }
body > header {
  display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: center; justify-content: space-between;
  padding-top: 1rem; padding-bottom: 1rem;
}
.brand { font-weight: 600; color: inherit; text-decoration: none; }
.brand:hover { text-decoration: underline; }
.who { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: center; }
.who p, .who form { margin: 0; }
main { padding-bottom: 3rem; }

section {
  background: var(--sheet); border: 1px solid var(--edge); border-radius: .6rem;
  padding: 1.25rem; margin: 0 0 1.25rem;
}
section > :last-child, form > :last-child { margin-bottom: 0; }
section.fresh { border-color: var(--good); }

.notice {
  border: 1px solid var(--good); border-radius: .6rem; background: var(--good-ground); color: var(--good);
  padding: .6rem 1.25rem; margin: 0 0 1.25rem;
}

.line { margin: 0 0 1rem; }
pre {
  margin: 0; padding: .65rem .8rem; border: 1px solid var(--edge); border-radius: .4rem; background: var(--code);
  white-space: pre-wrap; overflow-wrap: anywhere;
}
code { font: .9rem/1.5 ui-monospace, monospace; }
.copies { display: flex; }
.copies pre { flex: 1; min-width: 0; border-radius: .4rem 0 0 .4rem; }
.copy { border-left: 0; border-radius: 0 .4rem .4rem 0; font-size: .9rem; min-width: 5.5rem; }

button, .button, input, select { font: inherit; }
button, .button {
  display: inline-block; min-height: 2.5rem; padding: .4rem .9rem; border: 1px solid var(--control-edge); border-radius: .4rem;
  background: var(--sheet); color: var(--text); text-decoration: none; cursor: pointer;
}
button:hover, .button:hover { border-color: var(--accent); color: var(--accent); }
.main {
  background: var(--accent); border-color: var(--accent); color: var(--on-accent); font-weight: 600;
}
.main:hover { background: var(--accent-strong); border-color: var(--accent-strong); color: var(--on-accent); }
.danger { color: var(--danger); border-color: var(--danger); }
.danger:hover { color: var(--danger); border-color: var(--danger); text-decoration: underline; }

.fields { display: flex; flex-wrap: wrap; gap: 1rem; align-items: end; }
.field { display: grid; gap: .25rem; flex: 1 1 12rem; }
.field label { font-weight: 600; }
input, select {
  width: 100%; height: 2.5rem; padding: .4rem .6rem; border: 1px solid var(--control-edge); border-radius: .4rem;
  background: var(--ground); color: var(--text);
}

summary { cursor: pointer; color: var(--accent); width: fit-content; }
details { margin: 0 0 1rem; }
details[open] > summary { margin-bottom: .5rem; }
td details { margin: 0; min-width: 9rem; }

table { width: 100%; border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .5rem .75rem .5rem 0; border-bottom: 1px solid var(--edge); }
tbody tr:last-child > * { border-bottom: 0; }
thead th { font-size: .85rem; color: var(--quiet); }
tbody th { font-weight: 600; min-width: 8rem; }
.id { display: block; font-size: .85rem; font-weight: 400; color: var(--quiet); }
td { font-variant-numeric: tabular-nums; }
#label-hint { margin-top: .5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0 0 1rem; }
dt { color: var(--quiet); }
dd { margin: 0; }
time { white-space: nowrap; }

@media (max-width: 40rem) {
  table, tbody, tr, th, td { display: block; border: 0; padding: 0; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tbody tr { padding: .75rem 0; border-bottom: 1px solid var(--edge); }
  tbody tr:last-child { border-bottom: 0; padding-bottom: 0; }
  td[data-label]::before { content: attr(data-label) ": "; color: var(--quiet); }
  .copies { display: grid; justify-items: end; }
  .copies pre { width: 100%; border-radius: .4rem .4rem 0; }
  .copy { border: 1px solid var(--control-edge); border-top: 0; border-radius: 0 0 .4rem .4rem; }
}

@media (prefers-reduced-motion: no-preference) {
  button, .button { transition: color .12s, background-color .12s, border-color .12s; }
}
`;

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

/** The lives to choose from beside those that are configured. Milliseconds. */
const usual = [1, 7, 30, 90, 180, 365].map((days) => days * day);

export interface LifeChoice {
  /** Milliseconds. */
  readonly life: number;
  /** `30 days`. */
  readonly text: string;
  readonly isSuggested: boolean;
}

/** What a person may choose from, the shortest first. */
export function lifeChoices({ suggested, max }: { readonly suggested: number; readonly max: number }) {
  const lives = [...new Set([...usual, suggested, max])].filter((life) => life <= max).sort((a, b) => a - b);
  return lives.map((life): LifeChoice => ({ life, text: printLife(life), isSuggested: life === suggested }));
}

/** In the largest unit that says it exactly, or nearly so where none does. @param life milliseconds */
export function printLife(life: number): string {
  const units = [
    [day, 'day'],
    [hour, 'hour'],
    [minute, 'minute'],
  ] as const;
  const [unit, name] = units.find(([one]) => life >= one && life % one === 0) ?? units[2];
  const count = Math.round(life / unit);
  return `${count} ${name}${count === 1 ? '' : 's'}`;
}

/** To the minute, as UTC. @param time milliseconds since the epoch */
export function printTime(time: number): string {
  return `${new Date(time).toISOString().slice(0, 16).replace('T', ' ')}`;
}

import { z } from 'zod';
import { isRepositoryName } from '../reference/repository-name.js';

const expected =
  'expected "" or repository components that end with a slash, such as hub/ or my-project/team/';

/** The beginning of repository names: empty, or whole components and a slash, so that no component is ever cut. */
export const repositoryPrefix = () =>
  z.string({ error: expected }).refine(isRepositoryPrefix, expected).meta({ title: 'prefix' });

export function isRepositoryPrefix(text: string): boolean {
  return text === '' || (text.endsWith('/') && isRepositoryName(text.slice(0, -1)));
}

import { z } from 'zod';

const expectedType = "expected the name of a driver's type";
const moduleText =
  'Instead of `type`: a JavaScript file (`./mine.js`) or an installed package that exports a `driver` of your own. It runs with all rights of this program.';

/** The keys that choose a driver. @param fallback the type that is taken where none is named */
export function typeKeys(fallback?: string) {
  return { type: typeKey(fallback).describe('The driver.'), module: moduleKey(moduleText) };
}

/** Those of a cache, whose driver is its `store`. */
export function storeKeys(fallback: string) {
  return {
    store: typeKey(fallback).describe('Where the bytes are kept.'),
    module: moduleKey(moduleText.replace('`type`', '`store`')),
  };
}

function typeKey(fallback?: string) {
  const type = z.string({ error: expectedType }).min(1, expectedType);
  return fallback === undefined ? type.optional() : type.default(fallback);
}

function moduleKey(text: string) {
  return z
    .string({ error: 'expected a file name' })
    .min(1, 'expected a file name')
    .optional()
    .meta({ title: 'file' })
    .describe(text);
}

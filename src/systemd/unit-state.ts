import type { UnitState } from '../contracts/node.js';
import { ofVariant } from './dbus-message.js';

/** Properties of one interface of a unit, by name. */
export type Properties = ReadonlyMap<string, unknown>;

/** @param answer what org.freedesktop.DBus.Properties.GetAll answers. @throws an Error where it is something else */
export function propertiesOf(answer: readonly unknown[]): Properties {
  const entries = answer[0] as readonly [string, unknown][];
  return new Map(entries.map(([name, variant]) => [name, ofVariant(variant)]));
}

/** @param service none for a unit that is no service. @throws an Error where systemd answers in another form */
export function unitStateOf(unit: Properties, service: Properties): UnitState {
  return {
    loadState: text(unit, 'LoadState'),
    activeState: text(unit, 'ActiveState'),
    subState: text(unit, 'SubState'),
    result: text(service, 'Result'),
    mainPid: number(service, 'MainPID'),
    mainStatus: number(service, 'ExecMainStatus'),
    restarts: number(service, 'NRestarts'),
    fragmentPath: text(unit, 'FragmentPath'),
    dropInPaths: list(unit, 'DropInPaths').map(String),
    needsReload: unit.get('NeedDaemonReload') === true,
    execStart: commands(service, 'ExecStart'),
    execStartPre: commands(service, 'ExecStartPre'),
    environmentFiles: list(service, 'EnvironmentFiles').map(environmentFile),
    after: list(unit, 'After').map(String),
  };
}

function text(properties: Properties, name: string): string {
  const value = properties.get(name);
  return typeof value === 'string' ? value : '';
}

function number(properties: Properties, name: string): number {
  const value = properties.get(name);
  return typeof value === 'number' ? value : 0;
}

function list(properties: Properties, name: string): readonly unknown[] {
  const value = properties.get(name);
  return Array.isArray(value) ? value : [];
}

/** `a(sasbttttuii)`: the program's path, its arguments with the program's name first, … */
function commands(service: Properties, name: string): readonly (readonly string[])[] {
  return list(service, name).map((command) => ((command as unknown[])[1] as unknown[]).map(String));
}

/** `a(sb)`: the path, and whether it may be missing; written as in the unit. */
function environmentFile(entry: unknown): string {
  const [path, mayBeMissing] = entry as [string, boolean];
  return mayBeMissing ? `-${path}` : path;
}

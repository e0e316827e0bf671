/** The settings sent to the server, and those that need a restart. Pure. */

/** The server's sections; `codellama.server` belongs to the extension. */
export const SECTIONS = ['completion', 'chat', 'actions', 'engine', 'statistics'] as const;

/** The `initializationOptions`. `get` reads a section of `codellama`. */
export function forServer(get: (section: string) => unknown): Record<string, unknown> {
  return Object.fromEntries(SECTIONS.map((section) => [section, get(section)]));
}

/** Settings that take effect only after a restart. */
export const NEEDS_RESTART = ['codellama.engine', 'codellama.server'] as const;

/** The setting that turns suggestions off in a document; empty if they are on. */
export function whyOff(enabled: boolean, disabledLanguages: readonly string[], language: string, fileOff: boolean): string {
  if (!enabled) return 'suggestions are switched off';
  if (disabledLanguages.includes(language)) return `suggestions are switched off for ${language}`;
  return fileOff ? 'suggestions are switched off for this file' : '';
}

/** `languages` with one added or removed. */
export function toggled(languages: readonly string[], language: string): string[] {
  return languages.includes(language) ? languages.filter((one) => one !== language) : [...languages, language];
}

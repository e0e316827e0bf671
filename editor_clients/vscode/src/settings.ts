/** Which settings go to the server, and which of them take a new server or engine to hold. Pure; knows no VS Code. */

/** The sections that the server knows; `codellama.server` is the extension's own. */
export const SECTIONS = ['completion', 'chat', 'actions', 'engine', 'statistics'] as const;

/** What is sent as `initializationOptions`. `get` reads a section of `codellama`. */
export function forServer(get: (section: string) => unknown): Record<string, unknown> {
  return Object.fromEntries(SECTIONS.map((section) => [section, get(section)]));
}

/** Changes of these are only heeded by a server that starts anew. */
export const NEEDS_RESTART = ['codellama.engine', 'codellama.server'] as const;

/** Why a person wants no suggestions at a document; an empty text where they do. */
export function whyOff(enabled: boolean, disabledLanguages: readonly string[], language: string, fileOff: boolean): string {
  if (!enabled) return 'suggestions are switched off';
  if (disabledLanguages.includes(language)) return `suggestions are switched off for ${language}`;
  return fileOff ? 'suggestions are switched off for this file' : '';
}

/** `languages` with one added, or without it. */
export function toggled(languages: readonly string[], language: string): string[] {
  return languages.includes(language) ? languages.filter((one) => one !== language) : [...languages, language];
}

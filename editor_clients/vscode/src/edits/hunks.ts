/** Proposed changes of a document, moved along with changes elsewhere in it. Pure. */

export interface Place {
  readonly line: number;
  readonly character: number;
}

export interface Span {
  readonly start: Place;
  readonly end: Place;
}

export interface Hunk {
  readonly id: number;
  readonly range: Span;
  readonly newText: string;
}

/** A text change, relative to the document before it. */
export interface Change {
  readonly range: Span;
  readonly text: string;
}

/** The successive changes that led to `version`. */
export interface Step {
  readonly version: number;
  readonly changes: readonly Change[];
}

/** Move `hunks` of `version` past the later `steps`; hunks whose lines were touched are dropped. */
export function along(hunks: readonly Hunk[], version: number, steps: readonly Step[]): Hunk[] {
  const changes = steps.filter((step) => step.version > version).flatMap((step) => step.changes);
  let found = [...hunks];
  for (const change of changes) found = found.flatMap((hunk) => moved(hunk, change) ?? []);
  return found;
}

/** Apply the hunks to a text. `offset` converts a position. */
export function applied(text: string, hunks: readonly Hunk[], offset: (place: Place) => number): string {
  const cuts = hunks.map((hunk) => ({ start: offset(hunk.range.start), end: offset(hunk.range.end), text: hunk.newText }));
  cuts.sort((a, b) => b.start - a.start);
  return cuts.reduce((rest, cut) => rest.slice(0, cut.start) + cut.text + rest.slice(cut.end), text);
}

/** The hunk nearest to `line`; the first of equally near ones. */
export function nearest(hunks: readonly Hunk[], line: number): Hunk | undefined {
  const far = (hunk: Hunk): number => Math.max(hunk.range.start.line - line, line - hunk.range.end.line, 0);
  return hunks.reduce<Hunk | undefined>((best, hunk) => (best && far(best) <= far(hunk) ? best : hunk), undefined);
}

function moved(hunk: Hunk, change: Change): Hunk | undefined {
  const { start, end } = change.range;
  if (start.line <= hunk.range.end.line && end.line >= hunk.range.start.line) return undefined;
  if (start.line > hunk.range.end.line) return hunk;
  const by = change.text.split('\n').length - 1 - (end.line - start.line);
  return { ...hunk, range: { start: below(hunk.range.start, by), end: below(hunk.range.end, by) } };
}

function below(place: Place, by: number): Place {
  return { line: place.line + by, character: place.character };
}

/** The trace of requests (`codellama/trace`) as a sentence and as Markdown. Pure. */

export interface Trace {
  readonly uri: string;
  readonly line: number;
  readonly invoked: boolean;
  readonly at: string;
  readonly result: string;
  readonly reason: string;
  readonly source: string;
  readonly filter: string;
  readonly total_ms: number;
  readonly shown: number;
}

const SOURCES: Readonly<Record<string, string>> = {
  same: 'as given here before',
  typed: 'the rest of what was shown',
  running: 'what was being written for an earlier key',
};

/** A sentence about the last request in a document. */
export function explained(records: readonly Trace[], uri: string): string {
  const last = records.findLast((record) => record.uri === uri);
  if (!last) return 'No suggestion was requested in this document yet. Type something first.';
  if (last.result === 'shown') return `The last request, on line ${last.line + 1}, was answered${detail(last)}.`;
  return `Nothing was shown on line ${last.line + 1}: ${last.reason || last.result}.`;
}

/** All requests as a Markdown table, newest first. */
export function page(records: readonly Trace[]): string {
  const rows = records.toReversed().map((one) => `| ${row(one).map(cell).join(' | ')} |`);
  return ['# Requests of this window', '', '| when | where | asked | answer | why | ms |', '|---|---|---|---|---|--:|', ...rows, ''].join(
    '\n',
  );
}

function row(one: Trace): string[] {
  const answer = one.result === 'shown' ? `${one.shown} characters` : `none: ${one.result}`;
  const why = one.result === 'shown' ? detail(one).replace(/^: /, '') : one.reason;
  return [time(one.at), place(one), one.invoked ? 'by hand' : 'typing', answer, why, one.total_ms.toFixed(0)];
}

function detail(one: Trace): string {
  const parts = [SOURCES[one.source], one.filter && `changed by ${one.filter}`].filter(Boolean);
  return parts.length > 0 ? `: ${parts.join('; ')}` : '';
}

function time(at: string): string {
  return at.slice(11, 19);
}

function place(one: Trace): string {
  return `${decodeURIComponent(one.uri.split('/').at(-1) ?? one.uri)}:${one.line + 1}`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
}

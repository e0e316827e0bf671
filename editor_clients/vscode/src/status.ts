/** The server's status (`codellama/status`) and the state of this window as status bar text. Pure. */

/** The engine's phases, and two for a server that is not running. */
export type Phase = 'missing' | 'starting' | 'loading' | 'ready' | 'idle' | 'failed' | 'retiring' | 'stopping' | 'ended';

export interface Today {
  readonly shown: number;
  readonly accepted: number;
  readonly acceptance: number | null;
}

export interface Status {
  readonly phase: Phase;
  readonly message: string;
  readonly progress: number;
  readonly model: string;
  readonly chat_model: string;
  readonly limits: string;
  readonly today: Today | null;
}

export const NOTHING: Status = {
  phase: 'starting',
  message: 'the language server is starting',
  progress: 0,
  model: '',
  chat_model: '',
  limits: '',
  today: null,
};

/** Other input of the status bar. */
export interface Circumstances {
  /** Why the user turned suggestions off here; empty if they are on. */
  readonly off: string;
  /** Number of active requests. */
  readonly busy: number;
  /** Today's median latency in milliseconds. */
  readonly latency?: number | undefined;
  /** Bytes that the engine uses, in RAM and on the GPU. */
  readonly memory?: { readonly resident: number; readonly gpu: number } | undefined;
}

export interface Shown {
  readonly text: string;
  readonly lines: readonly string[];
  readonly severity: 'normal' | 'warning' | 'error';
}

/** Text and hover of the status bar item. */
export function shown(status: Status, about: Circumstances): Shown {
  const lines = [sentence(status, about), ...figures(status, about)];
  return { text: `${icon(status, about)} Code Llama${addition(status, about)}`, lines, severity: severity(status) };
}

/** Return whether the failure is a missing model that `pull` installs. */
export function lacksModel(status: Status): boolean {
  return status.phase === 'failed' && status.message.includes('codellama-ls pull');
}

function icon(status: Status, about: Circumstances): string {
  if (lacksModel(status)) return '$(cloud-download)';
  if (status.phase === 'ready' || status.phase === 'idle') {
    if (about.off) return '$(circle-slash)';
    return about.busy > 0 ? '$(loading~spin)' : '$(sparkle)';
  }
  if (status.phase === 'missing') return '$(warning)';
  return trouble(status) ? '$(error)' : '$(sync~spin)';
}

function addition(status: Status, about: Circumstances): string {
  if (status.phase === 'loading') return ` ${status.progress} %`;
  if (status.phase === 'missing') return ': set up';
  if (lacksModel(status)) return ': no model';
  return about.off && !trouble(status) ? ': off' : '';
}

function severity(status: Status): Shown['severity'] {
  if (status.phase === 'missing' || lacksModel(status)) return 'warning';
  return trouble(status) ? 'error' : 'normal';
}

function trouble(status: Status): boolean {
  return status.phase === 'failed' || status.phase === 'ended' || status.phase === 'missing';
}

function sentence(status: Status, about: Circumstances): string {
  if (!trouble(status) && about.off) return `Off: ${about.off}.`;
  switch (status.phase) {
    case 'missing':
      return 'The language server is not installed.';
    case 'ended':
      return 'The language server has stopped. Restart it, or open its log.';
    case 'loading':
      return `Loading: ${status.message} (${status.progress} %).`;
    case 'ready':
      return about.busy > 0 ? 'Busy.' : 'Ready.';
    case 'idle':
      return 'Ready; the model was unloaded and comes back with the next key.';
    default:
      return capital(status.message);
  }
}

function figures(status: Status, about: Circumstances): string[] {
  const lines: string[] = [];
  if (status.model) lines.push(`Model: ${status.model}`);
  if (status.chat_model && status.chat_model !== status.model) lines.push(`Chat: ${status.chat_model}`);
  if (about.memory) lines.push(`Memory: ${memory(about.memory)}`);
  if (about.latency !== undefined) lines.push(`Latency today: ${Math.round(about.latency)} ms (median)`);
  const { today } = status;
  if (today) lines.push(`Today: ${today.shown} shown, ${today.accepted} accepted${share(today.acceptance)}`);
  if (status.limits) lines.push(capital(status.limits));
  return lines;
}

function share(value: number | null): string {
  return value === null ? '' : ` (${Math.round(value * 100)} %)`;
}

function memory({ resident, gpu }: { resident: number; gpu: number }): string {
  return gpu > 0 ? `${size(resident)}, GPU ${size(gpu)}` : size(resident);
}

function size(bytes: number): string {
  return bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${Math.round(bytes / 2 ** 20)} MiB`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

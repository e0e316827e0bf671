/** Today's median latency and the engine's memory, polled for the status bar's hover text. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import * as vscode from 'vscode';
import { NEUTRAL_FOLDER } from './server/finding';
import type { Session } from './session';

const run = promisify(execFile);

/** Milliseconds between polls; reading memory starts a process. */
const PAUSE = 120_000;
const PATIENCE = 20_000;

interface Group {
  readonly latency_ms: { readonly p50: number } | null;
}
interface EngineStats {
  readonly memory: { readonly resident_bytes: number; readonly gpu_bytes: number };
}

export class Figures implements vscode.Disposable {
  latency: number | undefined;
  memory: { resident: number; gpu: number } | undefined;
  private readonly changed = new vscode.EventEmitter<void>();
  readonly onDidChange = this.changed.event;
  private readonly listening: vscode.Disposable;
  private phase = '';
  private asked = 0;

  constructor(private readonly session: Session) {
    this.listening = session.onDidChange(() => {
      const { phase } = session.status;
      const due = phase !== this.phase || Date.now() - this.asked > PAUSE;
      this.phase = phase;
      if (due && (phase === 'ready' || phase === 'idle')) void this.ask();
    });
  }

  dispose(): void {
    this.listening.dispose();
    this.changed.dispose();
  }

  private async ask(): Promise<void> {
    this.asked = Date.now();
    try {
      const stats = await this.session.request<{ today: Group }>('codellama/stats', { days: 1 });
      this.latency = stats.today.latency_ms?.p50;
      this.memory = await this.engineMemory();
      this.changed.fire();
    } catch (error) {
      this.session.log.debug(`no figures: ${String(error)}`);
    }
  }

  /** Undefined without a local engine: a remote server does not report it. */
  private async engineMemory(): Promise<{ resident: number; gpu: number } | undefined> {
    const { found } = this.session;
    if (!found) return undefined;
    try {
      const { stdout } = await run(found.command, ['engine', 'status', '--json'], { timeout: PATIENCE, cwd: NEUTRAL_FOLDER });
      const { memory } = JSON.parse(stdout) as EngineStats;
      return { resident: memory.resident_bytes, gpu: memory.gpu_bytes };
    } catch {
      return undefined;
    }
  }
}

/** Turn suggestions on and off: globally and by language in the settings, by file in the workspace state. */
import * as vscode from 'vscode';
import { toggled, whyOff } from './settings';

const KEY = 'filesOff';

export class Toggle implements vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<void>();
  /** Fires also when the settings were changed by other means. */
  readonly onDidChange = this.changed.event;
  private readonly listening = vscode.workspace.onDidChangeConfiguration((change) => {
    if (change.affectsConfiguration('codellama.completion')) this.changed.fire();
  });

  constructor(private readonly memory: vscode.Memento) {}

  /** Why the user turned suggestions off in a document; empty if they are on. */
  whyOff(document: vscode.TextDocument | undefined): string {
    const settings = vscode.workspace.getConfiguration('codellama.completion');
    const disabled = settings.get<string[]>('disabledLanguages', []);
    return whyOff(settings.get<boolean>('enabled', true), disabled, document?.languageId ?? '', this.fileOff(document));
  }

  /** Return whether this file is turned off. The server is not asked then. */
  fileOff(document: vscode.TextDocument | undefined): boolean {
    return document !== undefined && this.files().includes(document.uri.toString());
  }

  /** Ask what to turn on or off, then do it. */
  async choose(): Promise<void> {
    const document = vscode.window.activeTextEditor?.document;
    const settings = vscode.workspace.getConfiguration('codellama.completion');
    const enabled = settings.get<boolean>('enabled', true);
    const items = [{ label: enabled ? 'Switch off everywhere' : 'Switch on everywhere', run: () => this.everywhere(!enabled) }];
    if (document) {
      const off = settings.get<string[]>('disabledLanguages', []).includes(document.languageId);
      items.push(
        { label: `Switch ${off ? 'on' : 'off'} for ${document.languageId}`, run: () => this.language(document.languageId) },
        { label: `Switch ${this.fileOff(document) ? 'on' : 'off'} for this file`, run: () => this.file(document) },
      );
    }
    const chosen = await vscode.window.showQuickPick(items, { title: 'Code Llama: suggestions' });
    await chosen?.run();
  }

  dispose(): void {
    this.listening.dispose();
    this.changed.dispose();
  }

  private async everywhere(enabled: boolean): Promise<void> {
    const settings = vscode.workspace.getConfiguration('codellama.completion');
    await settings.update('enabled', enabled, vscode.ConfigurationTarget.Global);
  }

  private async language(language: string): Promise<void> {
    const settings = vscode.workspace.getConfiguration('codellama.completion');
    const languages = toggled(settings.get<string[]>('disabledLanguages', []), language);
    await settings.update('disabledLanguages', languages, vscode.ConfigurationTarget.Global);
  }

  private async file(document: vscode.TextDocument): Promise<void> {
    await this.memory.update(KEY, toggled(this.files(), document.uri.toString()));
    this.changed.fire();
  }

  private files(): string[] {
    return this.memory.get<string[]>(KEY, []);
  }
}

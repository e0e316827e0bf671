/** Commands that fail in a sentence. */
import * as vscode from 'vscode';

export type Handler = (...args: never[]) => unknown;

/** `handler`, and where it fails the person is told why. */
export function told<A extends unknown[]>(handler: (...args: A) => unknown): (...args: A) => Promise<unknown> {
  return async (...args) => {
    try {
      return await handler(...args);
    } catch (error) {
      void vscode.window.showErrorMessage(`Code Llama: ${(error as Error).message}`);
      return undefined;
    }
  };
}

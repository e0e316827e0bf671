// Bundles the extension into one file, or with `--tests` each test into one that node's own runner takes.
import { globSync } from 'node:fs';
import { build } from 'esbuild';

const tests = process.argv.includes('--tests');
await build({
  entryPoints: tests ? globSync('test/*.test.ts') : ['src/extension.ts'],
  outdir: tests ? 'dist/test' : 'dist',
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20',
  external: ['vscode'],
  minify: !tests,
  logLevel: 'warning',
});

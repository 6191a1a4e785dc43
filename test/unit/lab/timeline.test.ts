import { describe, expect, it } from '@jest/globals';
import { Timeline } from '../../lab/timeline.js';

function output(isTTY: boolean): { isTTY: boolean; text: string; write(text: string): void } {
  return {
    isTTY,
    text: '',
    write(text) {
      this.text += text;
    },
  };
}

describe('the timeline', () => {
  it('is plain text where it is no terminal', () => {
    const out = output(false);
    const timeline = new Timeline(out);
    timeline.begins('a step', 'hold');
    timeline.seen('what was seen', 'open');
    timeline.missed('what was not');
    expect(out.text).toMatch(/^ +0\.\d{3} s {2}hold {4}a step\n +0\.\d{3} s {2}open {6}✓ what was seen\n +0\.\d{3} s {12}✗ what was not\n$/);
  });

  it('is coloured on a terminal', () => {
    const out = output(true);
    new Timeline(out).seen('what was seen', 'open');
    expect(out.text).toContain('\u001b[32m✓\u001b[0m');
  });

  it('says nothing after its end', () => {
    const out = output(false);
    const timeline = new Timeline(out);
    timeline.end();
    timeline.missed('late');
    expect(out.text).toBe('');
  });
});

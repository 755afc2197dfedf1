/** The one live region: what it is told, assistive technology says once, when its listener is not busy. */
class Announcer {
  text = $state('');

  say(text: string): void {
    this.text = text;
  }
}

export const announcer = new Announcer();

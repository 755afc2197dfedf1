import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

/** The component that has each class. */
const owners = new Map();

/** @type {import('@sveltejs/vite-plugin-svelte').SvelteConfig} */
export default {
  preprocess: vitePreprocess(),
  compilerOptions: {
    runes: true,
    // On every element and rule of a component: a short one makes the console some percent lighter.
    cssHash: ({ hash, filename }) => {
      const name = `s${hash(filename).slice(0, 4)}`;
      if ((owners.get(name) ?? filename) !== filename)
        throw new Error(`The styles of ${filename} and ${owners.get(name)} would have the same class.`);
      owners.set(name, filename);
      return name;
    },
  },
};

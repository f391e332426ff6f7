"""From an imported module to a bundle: options, the code of each target, the manifest, the cache and the report."""

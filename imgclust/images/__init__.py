"""From a path to pixels: recognise, claim, hash, decode in worker processes, keep thumbnails."""

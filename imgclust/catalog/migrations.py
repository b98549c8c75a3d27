"""The steps that make a catalog's tables, and bring an older catalog's up to date."""

from __future__ import annotations

_FIRST = """
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- Folders that images come in by. `added` roots (one per argument of `add`) are only checked.
CREATE TABLE roots (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path BLOB NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('watched', 'added')),
    device INTEGER NOT NULL DEFAULT 0,
    inode INTEGER NOT NULL DEFAULT 0,
    passes INTEGER NOT NULL DEFAULT 0,
    held TEXT
) STRICT;

-- One row per sequence of bytes; key = first 63 bits of the SHA-256. A unique key makes the
-- SHA-256 unique too: an index on it would cost a page in each commit and forbid nothing more.
CREATE TABLE contents (
    key INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    format TEXT NOT NULL,
    decode_s REAL NOT NULL
) STRICT;

CREATE TABLE recipes (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

CREATE TABLE embeddings (
    content INTEGER NOT NULL REFERENCES contents(key) ON DELETE CASCADE,
    recipe INTEGER NOT NULL REFERENCES recipes(id),
    provenance TEXT NOT NULL,
    vector BLOB NOT NULL,
    PRIMARY KEY (content, recipe)
) STRICT;

CREATE TABLE images (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path BLOB NOT NULL UNIQUE,
    root INTEGER NOT NULL REFERENCES roots(id),
    content INTEGER NOT NULL REFERENCES contents(key),
    state TEXT NOT NULL DEFAULT 'present' CHECK (state IN ('present', 'missing')),
    misses INTEGER NOT NULL DEFAULT 0,
    added REAL NOT NULL
) STRICT;
CREATE INDEX images_by_content ON images(content);
CREATE INDEX images_by_root ON images(root);
CREATE INDEX images_missing ON images(root) WHERE state = 'missing';

-- What was last seen at each path. `due` counts in the clock of the running ingest.
CREATE TABLE observations (
    path BLOB PRIMARY KEY,
    root INTEGER NOT NULL REFERENCES roots(id),
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    changed REAL NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('seen', 'done', 'skipped', 'quarantined', 'missing', 'removed')),
    due REAL NOT NULL DEFAULT 0,
    tries INTEGER NOT NULL DEFAULT 0,
    deaths INTEGER NOT NULL DEFAULT 0,
    suffix TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE INDEX observations_due ON observations(due) WHERE state = 'seen';
CREATE INDEX observations_skipped ON observations(suffix) WHERE state = 'skipped';

CREATE TABLE quarantine (
    path BLOB PRIMARY KEY,
    reason TEXT NOT NULL,
    tries INTEGER NOT NULL,
    since REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Pairs of contents (the smaller key first) that a person has said to be no duplicates; a content
-- with itself: its copies are wanted. Kept when a content leaves, for the day it comes back.
CREATE TABLE dismissed (
    content INTEGER NOT NULL,
    other INTEGER NOT NULL,
    PRIMARY KEY (content, other)
) STRICT, WITHOUT ROWID;

-- What the index file has to replay.
CREATE TABLE changes (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    content INTEGER NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('add', 'remove'))
) STRICT;

CREATE TABLE projections (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    purpose TEXT NOT NULL CHECK (purpose IN ('space', 'map')),
    recipe INTEGER NOT NULL REFERENCES recipes(id),
    sequence INTEGER NOT NULL,
    created REAL NOT NULL,
    settings TEXT NOT NULL,
    contents INTEGER NOT NULL,
    blob BLOB NOT NULL
) STRICT;

CREATE TABLE coordinates (
    projection INTEGER NOT NULL REFERENCES projections(id) ON DELETE CASCADE,
    content INTEGER NOT NULL,
    x REAL NOT NULL,
    y REAL NOT NULL,
    z REAL,
    placed INTEGER NOT NULL,
    PRIMARY KEY (projection, content)
) STRICT, WITHOUT ROWID;

-- Lasting ids: a row stays when its cluster is gone, so that an id is never used again.
CREATE TABLE clusters (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT) STRICT;

CREATE TABLE clusterings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    generation INTEGER NOT NULL,
    previous INTEGER,
    created REAL NOT NULL,
    published REAL,
    provisional INTEGER NOT NULL,
    space TEXT NOT NULL,
    k INTEGER NOT NULL,
    chosen_by TEXT NOT NULL,
    inertia REAL NOT NULL,
    mean_distance REAL NOT NULL,
    seed INTEGER NOT NULL,
    recipe INTEGER NOT NULL REFERENCES recipes(id),
    projection INTEGER REFERENCES projections(id),
    sequence INTEGER NOT NULL,
    contents INTEGER NOT NULL,
    dims INTEGER NOT NULL,
    centroids BLOB NOT NULL,
    lineage TEXT NOT NULL DEFAULT '{}'
) STRICT;

-- Which lasting cluster each centroid of a clustering is, described as it was at the fit.
CREATE TABLE clustering_clusters (
    clustering INTEGER NOT NULL REFERENCES clusterings(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    cluster INTEGER NOT NULL REFERENCES clusters(id),
    mean_distance REAL NOT NULL,
    coherence REAL NOT NULL,
    medoid INTEGER NOT NULL,
    contents INTEGER NOT NULL,
    deviation REAL NOT NULL,
    outlier_from REAL NOT NULL,
    PRIMARY KEY (clustering, position),
    UNIQUE (clustering, cluster)
) STRICT, WITHOUT ROWID;

-- Contents that show what is in a cluster, in the order in which they are shown; made when they
-- are asked for.
CREATE TABLE representatives (
    clustering INTEGER NOT NULL REFERENCES clusterings(id) ON DELETE CASCADE,
    cluster INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    content INTEGER NOT NULL,
    PRIMARY KEY (clustering, cluster, rank)
) STRICT, WITHOUT ROWID;

CREATE TABLE assignments (
    clustering INTEGER NOT NULL REFERENCES clusterings(id) ON DELETE CASCADE,
    content INTEGER NOT NULL,
    cluster INTEGER NOT NULL,
    distance REAL NOT NULL,
    arrived INTEGER NOT NULL,
    PRIMARY KEY (clustering, content)
) STRICT, WITHOUT ROWID;

-- How many contents came after the fit, and the sums of their distances to the centroids as they
-- are before any projection: what drift is computed from.
CREATE TABLE arrivals (
    clustering INTEGER NOT NULL REFERENCES clusterings(id) ON DELETE CASCADE,
    cluster INTEGER NOT NULL,
    contents INTEGER NOT NULL,
    distances REAL NOT NULL,
    squares REAL NOT NULL,
    PRIMARY KEY (clustering, cluster)
) STRICT, WITHOUT ROWID;

CREATE TABLE sweeps (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    created REAL NOT NULL,
    space TEXT NOT NULL,
    projection INTEGER REFERENCES projections(id),
    recipe INTEGER NOT NULL REFERENCES recipes(id),
    seed INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    contents INTEGER NOT NULL,
    settings TEXT NOT NULL,
    summary TEXT NOT NULL
) STRICT;

CREATE TABLE sweep_fits (
    sweep INTEGER NOT NULL REFERENCES sweeps(id) ON DELETE CASCADE,
    k INTEGER NOT NULL,
    inertia REAL NOT NULL,
    dims INTEGER NOT NULL,
    centroids BLOB NOT NULL,
    PRIMARY KEY (sweep, k)
) STRICT;

CREATE TABLE link_ledger (
    folder BLOB NOT NULL,
    entry BLOB NOT NULL,
    image INTEGER NOT NULL,
    target BLOB NOT NULL,
    mode TEXT NOT NULL,
    state TEXT NOT NULL,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    PRIMARY KEY (folder, entry)
) STRICT, WITHOUT ROWID;
CREATE INDEX link_ledger_by_image ON link_ledger(image);
CREATE INDEX link_ledger_open ON link_ledger(state) WHERE state <> 'done';

-- Folders whose HTML page needs to be made again; written by the transaction that changes the
-- ledger, so that no page is forgotten.
CREATE TABLE page_queue (folder BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;

-- Images whose link needs a look; written by the transaction that changes them.
CREATE TABLE link_queue (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    image INTEGER NOT NULL
) STRICT;

-- Paths that `add` asks a running watcher to take.
CREATE TABLE requests (
    path BLOB PRIMARY KEY,
    root INTEGER NOT NULL REFERENCES roots(id),
    asked REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_age ON requests(asked);

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    sentence TEXT NOT NULL
) STRICT;
"""

_SECOND = """
-- Clusterings that were the current one (NULL: none that is known). Links of the contents above
-- `after` need a look where the current clustering has them elsewhere; they are queued piece by
-- piece, so that a clustering becomes current in a moment however many it moves.
CREATE TABLE IF NOT EXISTS link_steps (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    clustering INTEGER,
    after INTEGER NOT NULL DEFAULT -1
) STRICT;

-- A root's paths that are due are put off a few at a time, the first first.
DROP INDEX observations_due;
CREATE INDEX observations_due ON observations(due, root) WHERE state = 'seen';
"""

# The third step, by subject.
_THIRD_DISKS = """
-- Folders of a root (or roots themselves) that another file system is mounted on. `held` says why
-- nothing below is removed.
CREATE TABLE mounts (
    path BLOB NOT NULL,
    root INTEGER NOT NULL REFERENCES roots(id),
    device INTEGER NOT NULL,
    held TEXT,
    PRIMARY KEY (path, root)
) STRICT, WITHOUT ROWID;

-- The wall clock at the end of the last scan.
ALTER TABLE roots ADD COLUMN scanned REAL;

-- Folders that `roots move` has moved, so that the same command can be given again.
CREATE TABLE folder_moves (
    old BLOB PRIMARY KEY,
    new BLOB NOT NULL,
    moved REAL NOT NULL
) STRICT, WITHOUT ROWID;
"""

_THIRD_REMOVED = """
-- Files that a person took out, by content: a file with one of these contents stays out at any
-- path. `path` is where the file with this inode was seen last.
CREATE TABLE removals (
    sha256 BLOB NOT NULL,
    inode INTEGER NOT NULL,
    path BLOB NOT NULL,
    removed REAL NOT NULL,
    PRIMARY KEY (sha256, inode)
) STRICT, WITHOUT ROWID;
CREATE INDEX observations_removed ON observations(root) WHERE state = 'removed';

-- Files that were taken out when only their stat was noted: their content is still to be read.
CREATE TABLE removals_unread (path BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO removals_unread SELECT path FROM observations WHERE state = 'removed';

-- 1: a person asked for this path, and it is not at rest yet.
ALTER TABLE observations ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;
"""

_THIRD_CLUSTERS = """
-- The members of a frozen cluster leave it only by a person's command. A name freezes, and makes a
-- provisional clustering final.
ALTER TABLE clusters ADD COLUMN frozen INTEGER NOT NULL DEFAULT 0;
UPDATE clusters SET frozen = 1 WHERE name IS NOT NULL AND id IN (
    SELECT cluster FROM clustering_clusters WHERE clustering =
    (SELECT CAST(value AS INTEGER) FROM settings WHERE key = 'current_clustering')
);
UPDATE clusterings SET provisional = 0 WHERE EXISTS (SELECT 1 FROM clusters WHERE frozen)
AND id = (SELECT CAST(value AS INTEGER) FROM settings WHERE key = 'current_clustering');
"""

_THIRD_IDENTITY = """
-- The inode of the file that an image was last read from; `doubt`: its file has changed and waits
-- to be read ('changed'), its id may turn out to be that of an image that moved ('provisional'),
-- or another image has its path `former` ('displaced'). See imgclust/catalog/moves.py.
ALTER TABLE images ADD COLUMN inode INTEGER NOT NULL DEFAULT 0;
ALTER TABLE images ADD COLUMN doubt TEXT NOT NULL DEFAULT ''
    CHECK (doubt IN ('', 'changed', 'provisional', 'displaced'));
ALTER TABLE images ADD COLUMN former BLOB;
UPDATE images SET inode = coalesce((SELECT inode FROM observations o
    WHERE o.path = images.path AND o.state IN ('done', 'missing')), 0);
UPDATE images SET doubt = 'changed' WHERE state = 'present' AND path IN
    (SELECT path FROM observations WHERE state = 'seen');
CREATE INDEX images_in_doubt ON images(content, doubt, inode)
    WHERE doubt <> '' OR state = 'missing';
CREATE INDEX images_unsettled ON images(doubt) WHERE doubt <> '';
-- Whether a file of this size still waits to be read: only such a one can have a given content.
CREATE INDEX observations_by_size ON observations(size, inode) WHERE state = 'seen';
"""

_THIRD_DETAILS = """
-- What the file of a content says beside its pixels: the time of the camera's clock (ISO 8601, with
-- an offset where it is known) and the camera; `damage`: what is wrong with a file that gives a
-- picture nevertheless. Noted when a file is read, and later for those read before.
CREATE TABLE details (
    content INTEGER PRIMARY KEY REFERENCES contents(key) ON DELETE CASCADE,
    taken TEXT,
    camera TEXT,
    damage TEXT NOT NULL
) STRICT;
CREATE INDEX details_damaged ON details(content) WHERE damage <> '';
"""

_THIRD = _THIRD_DISKS + _THIRD_REMOVED + _THIRD_CLUSTERS + _THIRD_IDENTITY + _THIRD_DETAILS

_FOURTH_DUPLICATES = """
-- What the last search for duplicates found, for pages and reports: groups of contents that are
-- copies, the best first. `relation`: "best", "exact" or "near".
CREATE TABLE duplicates (
    number INTEGER NOT NULL,
    place INTEGER NOT NULL,
    image INTEGER NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    content INTEGER NOT NULL,
    relation TEXT NOT NULL,
    PRIMARY KEY (number, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX duplicates_by_image ON duplicates(image);
"""

_FOURTH_CORRECTIONS = """
-- What people said about contents: where they belong, and with which others. A row stays when its
-- content leaves, and when it has ended. `follows`: a near copy of the content of that correction,
-- or a part of a split cluster, has it too. `near`: cosine from which on an image is a near copy.
CREATE TABLE corrections (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('in', 'not_in', 'together', 'apart', 'outlier')),
    content INTEGER NOT NULL,
    other INTEGER,
    cluster INTEGER,
    made_by TEXT NOT NULL CHECK (made_by IN ('command', 'folder', 'gallery')),
    made REAL NOT NULL,
    follows INTEGER,
    near REAL NOT NULL DEFAULT 2,
    ended REAL,
    reason TEXT
) STRICT;
CREATE INDEX corrections_by_content ON corrections(content) WHERE ended IS NULL;
CREATE INDEX corrections_by_other ON corrections(other) WHERE ended IS NULL AND other IS NOT NULL;

-- What splits and merges made of corrections, so that an undo takes it back. `before` is NULL for a
-- correction that the clustering made.
CREATE TABLE correction_steps (
    correction INTEGER NOT NULL REFERENCES corrections(id),
    clustering INTEGER NOT NULL,
    before INTEGER,
    after INTEGER NOT NULL,
    PRIMARY KEY (clustering, correction)
) STRICT, WITHOUT ROWID;

-- Folders of the link folder as they were when they were read last, by the wall clock.
CREATE TABLE link_folders_read (
    folder BLOB PRIMARY KEY,
    inode INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    read_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Links that are at other places than we put them. 'young': perhaps half a move, looked at again
-- when it is old enough; 'waiting': until a person accepts it; 'moved': to become a correction.
CREATE TABLE link_moves (
    image INTEGER PRIMARY KEY,
    folder BLOB NOT NULL,
    entry BLOB NOT NULL,
    seen REAL NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('young', 'waiting', 'moved'))
) STRICT;
"""

_FOURTH_BURSTS = """
-- Contents whose embeddings are nearly equal, by a rule: which one represents each (itself, too),
-- and where it lies on a few axes of the rule, by which near ones are found. Written by the
-- transaction that stores the embedding, and by fits.
CREATE TABLE burst_rules (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    recipe INTEGER NOT NULL REFERENCES recipes(id),
    contents INTEGER NOT NULL,
    current INTEGER NOT NULL,
    rule BLOB NOT NULL
) STRICT;
CREATE TABLE burst_groups (
    rule INTEGER NOT NULL REFERENCES burst_rules(id) ON DELETE CASCADE,
    content INTEGER NOT NULL,
    representative INTEGER NOT NULL,
    place BLOB,
    PRIMARY KEY (rule, content)
) STRICT, WITHOUT ROWID;
"""

_FOURTH_VOLUMES = """
-- The file system that is at a root, or at a mount in it, by a number that no other has (0: none
-- is known). Images up to `before` may have been on another one, until the files here are read; its
-- number was `former`.
CREATE TABLE volumes (
    path BLOB NOT NULL,
    root INTEGER NOT NULL REFERENCES roots(id),
    number INTEGER NOT NULL,
    before INTEGER,
    former INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (path, root)
) STRICT, WITHOUT ROWID;

-- The folder of the disk that the file of a missing image was on, where another disk is now; it
-- stays until it is found or accepted as gone. `former` is then the path that it had.
ALTER TABLE images ADD COLUMN kept BLOB;
"""

_FOURTH_SIMILARITY = """
-- What makes similarities of embeddings, fitted together with the clustering; NULL where there were
-- too few images.
ALTER TABLE clusterings ADD COLUMN similarity INTEGER REFERENCES projections(id);
"""

_FOURTH_SERVICE = """
-- What has changed, for pages that show it. The transaction that changes something writes it here,
-- by the triggers below, so that nothing is forgotten and nothing is said before its commit.
-- `stream` tells the numbers of this catalog from those of another one of the same name.
CREATE TABLE feed (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0),
    kind TEXT NOT NULL,
    image INTEGER,
    cluster INTEGER,
    message TEXT
) STRICT;
CREATE TABLE feed_stream (stream TEXT NOT NULL) STRICT;
INSERT INTO feed_stream VALUES (lower(hex(randomblob(6))));

-- The newest 20,000 stay, and up to 500 more until they are pruned.
CREATE TRIGGER feed_pruned AFTER INSERT ON feed WHEN new.id % 500 = 0 BEGIN
    DELETE FROM feed WHERE id <= new.id - 20000;
END;

CREATE TRIGGER feed_image_added AFTER INSERT ON images BEGIN
    INSERT INTO feed (kind, image) VALUES ('image_added', new.id);
END;
CREATE TRIGGER feed_image_removed AFTER DELETE ON images BEGIN
    INSERT INTO feed (kind, image) VALUES ('image_removed', old.id);
END;
CREATE TRIGGER feed_image_changed AFTER UPDATE OF path, content ON images
WHEN old.path <> new.path OR old.content <> new.content BEGIN
    INSERT INTO feed (kind, image) VALUES ('image_changed', new.id);
END;
CREATE TRIGGER feed_image_state AFTER UPDATE OF state ON images WHEN old.state <> new.state BEGIN
    INSERT INTO feed (kind, image)
    VALUES (iif(new.state = 'missing', 'image_missing', 'image_back'), new.id);
END;
CREATE TRIGGER feed_quarantined AFTER INSERT ON quarantine BEGIN
    INSERT INTO feed (kind) VALUES ('quarantine_changed');
END;
CREATE TRIGGER feed_unquarantined AFTER DELETE ON quarantine BEGIN
    INSERT INTO feed (kind) VALUES ('quarantine_changed');
END;
CREATE TRIGGER feed_cluster_changed AFTER UPDATE ON clusters
WHEN old.name IS NOT new.name OR old.frozen <> new.frozen BEGIN
    INSERT INTO feed (kind, cluster) VALUES ('cluster_changed', new.id);
END;
CREATE TRIGGER feed_clusters_published AFTER INSERT ON settings
WHEN new.key = 'current_clustering' BEGIN
    INSERT INTO feed (kind) VALUES ('clusters_published');
END;
CREATE TRIGGER feed_corrected AFTER INSERT ON corrections BEGIN
    INSERT INTO feed (kind, cluster) VALUES ('corrections_changed', new.cluster);
END;
CREATE TRIGGER feed_uncorrected AFTER UPDATE OF ended ON corrections
WHEN old.ended IS NOT new.ended BEGIN
    INSERT INTO feed (kind, cluster) VALUES ('corrections_changed', new.cluster);
END;
CREATE TRIGGER feed_root_added AFTER INSERT ON roots BEGIN
    INSERT INTO feed (kind) VALUES ('roots_changed');
END;
CREATE TRIGGER feed_root_removed AFTER DELETE ON roots BEGIN
    INSERT INTO feed (kind) VALUES ('roots_changed');
END;
CREATE TRIGGER feed_root_changed AFTER UPDATE OF path, kind, held ON roots
WHEN old.path <> new.path OR old.kind <> new.kind OR old.held IS NOT new.held BEGIN
    INSERT INTO feed (kind) VALUES ('roots_changed');
END;
CREATE TRIGGER feed_note AFTER INSERT ON events BEGIN
    INSERT INTO feed (kind, message) VALUES ('note', new.sentence);
END;

-- Long work that a service was asked for. `process` shows whether a job still runs: it may have
-- died. The newest 200 are kept.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    command TEXT NOT NULL,
    arguments TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed', 'cancelled')),
    process TEXT NOT NULL,
    begun REAL NOT NULL,
    ended REAL,
    document TEXT
) STRICT;
"""

_FOURTH_SUGGESTIONS = """
-- What a person may do about clusters that arrivals have changed, as a watcher saw it last.
CREATE TABLE suggestions (
    clustering INTEGER NOT NULL REFERENCES clusterings(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('split', 'merge', 'cluster')),
    clusters TEXT NOT NULL,
    images INTEGER NOT NULL,
    parts INTEGER NOT NULL,
    PRIMARY KEY (clustering, position)
) STRICT, WITHOUT ROWID;
"""

_FOURTH = (
    _FOURTH_DUPLICATES
    + _FOURTH_CORRECTIONS
    + _FOURTH_BURSTS
    + _FOURTH_VOLUMES
    + _FOURTH_SIMILARITY
    + _FOURTH_SERVICE
    + _FOURTH_SUGGESTIONS
)

_FIFTH_PAGES = """
-- The images of a cluster in their order, its size and its outliers, without reading the others.
CREATE INDEX assignments_by_cluster ON assignments(clustering, cluster, distance);
"""

_FIFTH = _FIFTH_PAGES

# Step n brings a catalog from version n to n + 1. A step is never edited, what changes is a new
# one; the second forgives, as some catalogs of version 1 have its table already.
MIGRATIONS: tuple[str, ...] = (_FIRST, _SECOND, _THIRD, _FOURTH, _FIFTH)

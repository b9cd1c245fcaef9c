//! IAM's tables. Users and roles share one, since most of what can be done to one can be done to the other.

use kennel_store::state::Migrations;

/// What the composition root hands to `Database::open`.
pub const MIGRATIONS: Migrations = Migrations {
    component: "iam",
    scripts: &["
CREATE TABLE iam_account (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    account TEXT NOT NULL
) STRICT;

-- kind is 'user' or 'role'; folded is the name in lower case, which is how names are unique.
CREATE TABLE iam_entities (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('user', 'role')),
    name TEXT NOT NULL,
    folded TEXT NOT NULL,
    path TEXT NOT NULL,
    created INTEGER NOT NULL,
    boundary TEXT,
    tags TEXT NOT NULL DEFAULT '[]',
    trust TEXT,
    description TEXT,
    max_session INTEGER NOT NULL DEFAULT 3600,
    used INTEGER,
    used_region TEXT,
    UNIQUE (kind, folded)
) STRICT;

-- Secrets are kept readable: signatures are verified with them.
CREATE TABLE iam_keys (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL REFERENCES iam_entities (id) ON DELETE CASCADE,
    secret TEXT NOT NULL,
    active INTEGER NOT NULL,
    created INTEGER NOT NULL,
    used INTEGER,
    used_service TEXT,
    used_region TEXT
) STRICT;
CREATE INDEX iam_keys_owner ON iam_keys (owner);

-- owner is null for sessions of the root; name is null for GetSessionToken.
CREATE TABLE iam_sessions (
    id TEXT PRIMARY KEY,
    owner TEXT REFERENCES iam_entities (id) ON DELETE CASCADE,
    name TEXT,
    secret TEXT NOT NULL,
    token TEXT NOT NULL,
    policy TEXT,
    details TEXT,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT;
CREATE INDEX iam_sessions_owner ON iam_sessions (owner);
CREATE INDEX iam_sessions_expires ON iam_sessions (expires);

CREATE TABLE iam_policies (
    arn TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    folded TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    description TEXT,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    default_version INTEGER NOT NULL,
    next_version INTEGER NOT NULL,
    tags TEXT NOT NULL DEFAULT '[]'
) STRICT;

CREATE TABLE iam_policy_versions (
    policy TEXT NOT NULL REFERENCES iam_policies (arn) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    document TEXT NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (policy, version)
) WITHOUT ROWID, STRICT;

-- policy is an ARN; AWS's own policies are not in iam_policies.
CREATE TABLE iam_attachments (
    owner TEXT NOT NULL REFERENCES iam_entities (id) ON DELETE CASCADE,
    policy TEXT NOT NULL,
    PRIMARY KEY (owner, policy)
) WITHOUT ROWID, STRICT;
CREATE INDEX iam_attachments_policy ON iam_attachments (policy);

CREATE TABLE iam_inline (
    owner TEXT NOT NULL REFERENCES iam_entities (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (owner, name)
) WITHOUT ROWID, STRICT;
"],
};

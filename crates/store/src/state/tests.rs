use super::*;

const NOTES: Migrations = Migrations {
    component: "notes",
    scripts: &["CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT"],
};

fn open() -> (tempfile::TempDir, Database) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("state.db"), &[NOTES]).unwrap();
    (folder, database)
}

fn insert(database: &Database, text: &str) -> Result<Result<i64, rusqlite::Error>, StateError> {
    let text = text.to_owned();
    database.write_blocking(move |c| {
        c.execute("INSERT INTO notes (text) VALUES (?1)", [text])?;
        Ok(c.last_insert_rowid())
    })
}

fn texts(database: &Database) -> Vec<String> {
    database
        .read(|c| {
            let mut statement = c.prepare("SELECT text FROM notes ORDER BY id")?;
            statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()
        })
        .unwrap()
        .unwrap()
}

#[test]
fn what_was_written_is_read_at_once_and_after_reopening() {
    let (folder, database) = open();
    insert(&database, "one").unwrap().unwrap();
    assert_eq!(texts(&database), ["one"]);
    drop(database);
    let again = Database::open(&folder.path().join("state.db"), &[NOTES]).unwrap();
    assert_eq!(texts(&again), ["one"]);
}

#[test]
fn a_failing_closure_undoes_only_its_own_changes() {
    let (_folder, database) = open();
    insert(&database, "one").unwrap().unwrap();
    assert!(insert(&database, "one").unwrap().is_err());
    let half: Result<(), rusqlite::Error> = database
        .write_blocking(|c| {
            c.execute("INSERT INTO notes (text) VALUES ('half')", [])?;
            c.execute("INSERT INTO notes (text) VALUES ('one')", [])?;
            Ok(())
        })
        .unwrap();
    assert!(half.is_err());
    insert(&database, "two").unwrap().unwrap();
    assert_eq!(texts(&database), ["one", "two"]);
}

#[test]
fn many_writers_at_once_all_land() {
    let (_folder, database) = open();
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let database = &database;
            scope.spawn(move || {
                for n in 0..50 {
                    insert(database, &format!("{worker}-{n}")).unwrap().unwrap();
                }
            });
        }
    });
    assert_eq!(texts(&database).len(), 400);
}

#[test]
fn migrations_run_once_and_a_newer_file_is_refused() {
    let (folder, database) = open();
    insert(&database, "kept").unwrap().unwrap();
    drop(database);
    let path = folder.path().join("state.db");
    const GROWN: Migrations = Migrations {
        component: "notes",
        scripts: &[NOTES.scripts[0], "ALTER TABLE notes ADD COLUMN mood TEXT"],
    };
    let grown = Database::open(&path, &[GROWN]).unwrap();
    assert_eq!(texts(&grown), ["kept"]);
    drop(grown);
    let error = Database::open(&path, &[NOTES]).unwrap_err();
    assert!(matches!(error, StateError::Newer { found: 2, known: 1, .. }), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    std::fs::write(&path, "these are not the pages you are looking for").unwrap();
    assert!(Database::open(&path, &[NOTES]).is_err());
}

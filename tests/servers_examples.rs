//! The examples that need servers run, and print what their pages say.

mod network;
mod running;

use std::path::{Path, PathBuf};

use network::server;
use running::{example, output};

// shows: row 103
#[test]
fn distributed_does_each_item_once_and_takes_over_what_a_killed_worker_left() {
    server("TEST_POSTGRES");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents: Vec<PathBuf> =
        fs_err::read_dir(root.join("docs/adr")).unwrap().map(|file| file.unwrap().path()).collect();
    documents.sort();
    let text = output(example("distributed").args(&documents));
    let killed = text.lines().find(|line| line.starts_with("worker-1 was killed")).unwrap();
    let abandoned = killed.rsplit(' ').next().unwrap();
    let over = text
        .lines()
        .find(|line| line.starts_with(&format!("{abandoned} was taken over by worker-")))
        .unwrap();
    assert!(!over.ends_with("worker-1"), "{text}");
    let items = format!("{} items in ", documents.len());
    assert!(text.lines().any(|line| line.starts_with(&items) && line.contains(", 0 done twice")), "{text}");
    for document in &documents {
        let finished = format!("finishes {}", document.display());
        assert_eq!(text.matches(&finished).count(), 1, "{finished}\n{text}");
    }
}

#[test]
fn compose_from_config_takes_servers_from_a_file() {
    for name in ["postgres-s3.toml", "redis-s3.toml"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/compose_from_config").join(name);
        let text = output(example("compose_from_config").arg(&file));
        assert!(text.contains("100 kB come back the same: true"), "{text}");
        let secret = server("TEST_S3_SECRET_KEY");
        assert!(!text.contains(&secret), "a secret is printed:\n{text}");
    }
}

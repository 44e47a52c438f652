//! What the backend `s3` asks of a server, seen by a server that takes everything down.
#![cfg(feature = "s3")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cacheness_blob::s3::S3BlobFactory;
use cacheness_core::{
    BlobBackend, BlobFactory, BlobId, BlobKey, BlobSource, CacheId, ConfigOptions, Env, OpenContext, Result,
};

/// One request: its first line, its headers with names in lower case, and its body.
#[derive(Clone, Debug)]
struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn is(&self, method: &str, part: &str) -> bool {
        self.line.starts_with(method) && self.line.contains(part)
    }

    fn read(from: &mut impl BufRead) -> Option<Self> {
        let mut line = String::new();
        from.read_line(&mut line).ok().filter(|&n| n > 0)?;
        let mut headers = Vec::new();
        loop {
            let mut header = String::new();
            from.read_line(&mut header).ok()?;
            let Some((name, value)) = header.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut request = Self { line: line.trim_end().to_owned(), headers, body: String::new() };
        let len = request.header("content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
        let mut body = vec![0; len];
        from.read_exact(&mut body).ok()?;
        request.body = String::from_utf8_lossy(&body).into_owned();
        Some(request)
    }
}

/// What is answered to a request: a status, a body, and after how long.
type Answer = fn(&Request) -> (u16, &'static str, Duration);

struct Server {
    endpoint: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let taken = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(std::result::Result::ok) {
                let taken = taken.clone();
                std::thread::spawn(move || serve(stream, answer, &taken));
            }
        });
        Self { endpoint, seen }
    }

    fn options(&self) -> ConfigOptions {
        ConfigOptions::new()
            .with("bucket", "bucket")
            .with("prefix", "p")
            .with("region", "eu-west-1")
            .with("endpoint", self.endpoint.as_str())
    }

    fn with_keys(&self) -> ConfigOptions {
        self.options().with("access_key_id", "id").with("secret_access_key", "secret")
    }

    fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, answer: Answer, seen: &Mutex<Vec<Request>>) {
    let mut from = BufReader::new(stream.try_clone().unwrap());
    let mut to = stream;
    while let Some(request) = Request::read(&mut from) {
        let (status, body, wait) = answer(&request);
        seen.lock().unwrap().push(request);
        std::thread::sleep(wait);
        let answer = format!(
            "HTTP/1.1 {status} Said\r\ncontent-length: {}\r\netag: \"e\"\r\ncontent-type: application/xml\r\n\r\n{body}",
            body.len()
        );
        if to.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Everything goes well, and the marker is there.
fn well(request: &Request) -> (u16, &'static str, Duration) {
    let body = match request {
        request if request.is("GET", "cacheness-blobs") => "B",
        request if request.is("POST", "?uploads") => {
            "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>"
        }
        request if request.is("POST", "uploadId=") => {
            "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
        }
        request if request.is("POST", "?delete") => "<DeleteResult></DeleteResult>",
        _ => "",
    };
    (200, body, Duration::ZERO)
}

async fn open(options: ConfigOptions) -> Result<Arc<dyn BlobBackend>> {
    let factory = S3BlobFactory::new();
    factory.check(&options)?;
    factory.open(&options, &OpenContext::new(Env::new())).await
}

fn key() -> BlobKey {
    BlobKey { cache: CacheId::random(), blob: BlobId::new(Env::new().now()) }
}

fn bytes(len: usize) -> BlobSource {
    BlobSource::Bytes(vec![7; len].into())
}

const LARGE: usize = 20 << 20;

#[tokio::test]
async fn every_object_is_stored_with_the_encryption_and_the_class_that_were_asked_for() {
    for (kms, expected) in [(None, "AES256"), (Some("arn:aws:kms:key"), "aws:kms")] {
        let server = Server::start(well);
        let mut options =
            server.with_keys().with("encryption", expected).with("storage_class", "STANDARD_IA");
        if let Some(key) = kms {
            options = options.with("kms_key_id", key);
        }
        let blobs = open(options).await.unwrap();
        blobs.put(&key(), bytes(1_000)).await.unwrap();
        blobs.put(&key(), bytes(LARGE)).await.unwrap();
        blobs.introduce(CacheId::random()).await.unwrap();
        let seen = server.seen();
        let beginning = seen.iter().filter(|request| request.is("PUT", "") || request.is("POST", "?uploads"));
        // Parts are stored as was said when their upload was begun.
        let beginning: Vec<_> = beginning.filter(|request| !request.is("PUT", "partNumber=")).collect();
        assert_eq!(beginning.len(), 3, "{beginning:?}");
        for request in beginning {
            assert_eq!(request.header("x-amz-server-side-encryption"), Some(expected), "{}", request.line);
            assert_eq!(
                request.header("x-amz-server-side-encryption-aws-kms-key-id"),
                kms,
                "{}",
                request.line
            );
            assert_eq!(request.header("x-amz-storage-class"), Some("STANDARD_IA"), "{}", request.line);
        }
        assert_eq!(seen.iter().filter(|request| request.is("PUT", "partNumber=")).count(), 3);
    }
}

#[tokio::test]
async fn a_thousand_blobs_are_deleted_by_one_request() {
    let server = Server::start(well);
    let blobs = open(server.with_keys()).await.unwrap();
    let keys: Vec<BlobKey> = (0..1_001).map(|_| key()).collect();
    blobs.delete_many(&keys).await.unwrap();
    let deletes: Vec<_> = server.seen().into_iter().filter(|request| request.is("POST", "?delete")).collect();
    let named: Vec<usize> = deletes.iter().map(|request| request.body.matches("<Key>").count()).collect();
    assert_eq!(named, [1_000, 1]);
    assert!(deletes[0].body.contains(&keys[0].blob.to_string()));
}

#[tokio::test]
async fn an_upload_whose_part_is_refused_is_taken_back() {
    let server = Server::start(|request| match request {
        request if request.is("PUT", "partNumber=2") => {
            (400, "<Error><Code>EntityTooLarge</Code></Error>", Duration::ZERO)
        }
        request => well(request),
    });
    let blobs = open(server.with_keys()).await.unwrap();
    let error = blobs.put(&key(), bytes(LARGE)).await.unwrap_err();
    assert!(error.to_string().contains("EntityTooLarge"), "{error}");
    let seen = server.seen();
    assert!(seen.iter().any(|request| request.is("DELETE", "uploadId=u1")), "{seen:?}");
    assert!(!seen.iter().any(|request| request.is("POST", "uploadId=")), "it was completed");
}

#[tokio::test]
async fn a_part_on_a_slow_line_has_the_time_of_the_whole_call() {
    // A third of the time of a call, and more than the quarter that one of four attempts is given.
    let server = Server::start(|request| {
        let (status, body, _) = well(request);
        let slow = request.is("PUT", "");
        (status, body, if slow { Duration::from_millis(1_200) } else { Duration::ZERO })
    });
    let blobs = open(server.with_keys().with("timeout", "3s")).await.unwrap();
    blobs.put(&key(), bytes(1_000)).await.unwrap();
    blobs.put(&key(), bytes(LARGE)).await.unwrap();
    let sent = server.seen().into_iter().filter(|request| request.is("PUT", "")).count();
    assert_eq!(sent, 4, "each was sent once");
}

#[tokio::test]
async fn an_answer_longer_than_what_was_asked_for_is_not_taken_in() {
    const LONG: &str = "0123456789abcdef";
    let server = Server::start(|request| match request {
        request if request.is("GET", "cacheness-blobs") => well(request),
        request if request.is("GET", "") => (200, LONG, Duration::ZERO),
        request => well(request),
    });
    let blobs = open(server.with_keys()).await.unwrap();
    let error = blobs.get_range(&key(), 0..4).await.unwrap_err();
    assert!(error.to_string().contains("does not heed ranges"), "{error}");
}

/// Set for the process that the test below starts: where its server is.
const CHILD: &str = "CACHENESS_TEST_ENDPOINT";

#[test]
fn credentials_come_from_where_amazons_tools_look() {
    if let Ok(endpoint) = std::env::var(CHILD) {
        return put_with_the_credentials_of_the_environment(endpoint);
    }
    let server = Server::start(well);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "credentials_come_from_where_amazons_tools_look"])
        .env(CHILD, &server.endpoint)
        .env("AWS_ACCESS_KEY_ID", "AKIDOFENVIRONMENT")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_SESSION_TOKEN", "token-of-the-environment")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    let seen = server.seen();
    let put = seen.iter().find(|request| request.is("PUT", "")).unwrap();
    let signed = put.header("authorization").unwrap();
    assert!(signed.contains("Credential=AKIDOFENVIRONMENT/"), "{signed}");
    assert_eq!(put.header("x-amz-security-token"), Some("token-of-the-environment"));
}

/// The part of the process that the test starts, whose environment is its own.
fn put_with_the_credentials_of_the_environment(endpoint: String) {
    let options = ConfigOptions::new().with("bucket", "bucket").with("region", "eu-west-1");
    let options = options.with("endpoint", endpoint);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let blobs = open(options).await.unwrap();
        blobs.put(&key(), bytes(1_000)).await.unwrap();
    });
}

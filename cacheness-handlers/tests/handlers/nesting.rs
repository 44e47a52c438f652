//! How deep values may nest in the serde formats that are chosen by name.

use cacheness_core::{CacheHandler, ErrorKind};
use cacheness_handlers::{BincodeHandler, JsonHandler, MsgpackHandler, PostcardHandler};
use serde::{Deserialize, Serialize};

use crate::memory::{get, plain_stored, put};

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Link {
    next: Option<Box<Link>>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Lists(Vec<Lists>);

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
enum Tree {
    Leaf,
    Wrapped(Box<Tree>),
    Pair(Box<Tree>, u8),
    Named { left: Box<Tree> },
}

fn links(depth: usize) -> Link {
    (1..depth).fold(Link { next: None }, |link, _| Link { next: Some(Box::new(link)) })
}

fn lists(depth: usize) -> Lists {
    (1..depth).fold(Lists(vec![]), |lists, _| Lists(vec![lists]))
}

fn trees(depth: usize) -> Tree {
    (1..depth).fold(Tree::Leaf, |tree, i| match i % 3 {
        0 => Tree::Wrapped(Box::new(tree)),
        1 => Tree::Pair(Box::new(tree), 7),
        _ => Tree::Named { left: Box::new(tree) },
    })
}

fn handlers() -> [Box<dyn CacheHandler>; 4] {
    [
        Box::new(JsonHandler::new()),
        Box::new(BincodeHandler::new()),
        Box::new(PostcardHandler::new()),
        Box::new(MsgpackHandler::new()),
    ]
}

/// Puts a deep value: what is taken comes back, the first that is not is refused, and so are all deeper ones.
fn goes_as_deep_as_it_comes_back<T>(make: fn(usize) -> T)
where
    T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug + Send + Sync + 'static,
{
    for handler in handlers() {
        let deepest = (1..600)
            .take_while(|&depth| match put(&*handler, &make(depth)) {
                Ok(stored) => {
                    assert!(get::<T, _>(&*handler, &stored).unwrap() == make(depth));
                    true
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Encode);
                    let message = error.to_string();
                    let advice = handler.name() == "msgpack" || message.contains("msgpack");
                    assert!(message.contains("nested deeper") && advice, "{message}");
                    false
                }
            })
            .count();
        assert!((60..500).contains(&deepest), "{}: {deepest}", handler.name());
        assert!(put(&*handler, &make(2_000)).is_err());
    }
}

#[test]
fn a_chain_of_options_is_refused_where_it_would_not_come_back() {
    goes_as_deep_as_it_comes_back(links);
}

#[test]
fn lists_in_lists_are_refused_where_they_would_not_come_back() {
    goes_as_deep_as_it_comes_back(lists);
}

#[test]
fn variants_are_refused_where_they_would_not_come_back() {
    goes_as_deep_as_it_comes_back(trees);
}

/// Serde reads all of it before it knows of which variant it is.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(untagged)]
enum Untagged {
    Tree(Tree),
}

#[test]
fn what_serde_reads_ahead_is_refused_where_it_would_not_come_back() {
    let handler = MsgpackHandler::new();
    let taken = (1..600).take_while(|&depth| match put(&handler, &Untagged::Tree(trees(depth))) {
        Ok(stored) => {
            let back: Untagged = get(&handler, &stored).unwrap();
            assert!(back == Untagged::Tree(trees(depth)), "{depth}");
            true
        }
        Err(error) => {
            assert!(error.to_string().contains("nested deeper"), "{error}");
            false
        }
    });
    let deepest = taken.count();
    assert!((60..500).contains(&deepest), "{deepest}");
}

#[test]
fn bytes_that_nest_deeper_are_a_decode_error_and_take_no_more_stack() {
    let deep = 1_000_000;
    let json = [b"[".repeat(deep), b"{\"next\":".repeat(deep), b"{\"Wrapped\":".repeat(deep)]
        .map(|b| plain_stored(&b));
    assert_eq!(get::<Lists, _>(&JsonHandler::new(), &json[0]).unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(get::<Link, _>(&JsonHandler::new(), &json[1]).unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(get::<Tree, _>(&JsonHandler::new(), &json[2]).unwrap_err().kind(), ErrorKind::Decode);
    let ones = plain_stored(&vec![1; deep]);
    let handlers: [&dyn CacheHandler; 2] = [&BincodeHandler::new(), &PostcardHandler::new()];
    for handler in handlers {
        for error in [
            get::<Lists, _>(handler, &ones).unwrap_err(),
            get::<Link, _>(handler, &ones).unwrap_err(),
            get::<Tree, _>(handler, &ones).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Decode);
            assert!(error.to_string().contains("nested deeper than 256 levels"), "{error}");
        }
    }
}

#[test]
fn the_deepest_value_needs_no_more_than_a_quarter_of_a_usual_stack() {
    let thread = std::thread::Builder::new().stack_size(512 * 1024);
    let run = || {
        for handler in handlers() {
            for depth in 1..200 {
                if let Ok(stored) = put(&*handler, &trees(depth)) {
                    get::<Tree, _>(&*handler, &stored).unwrap();
                }
            }
        }
    };
    thread.spawn(run).unwrap().join().unwrap();
}

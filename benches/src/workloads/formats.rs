//! Puts and gets of serde values in the formats for them, beside the bare crates of these formats.

use std::error::Error;
use std::hint::black_box;

use bincode::config::standard;
use cacheness::PutOptions;
use cacheness::blocking::Cache;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Workload;
use crate::items::{Item, Random};
use crate::measure::{Plan, Scale, Side, in_turns};
use crate::report::Report;

pub(crate) const WORKLOAD: Workload = Workload {
    name: "formats",
    about: "put and get of serde values in a cache in memory, against the bare crate of the format",
    run,
};

#[derive(Serialize, Deserialize)]
struct Series {
    name: String,
    floats: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    email: Option<String>,
    roles: Vec<Role>,
    scores: (f32, u16),
}

#[derive(Serialize, Deserialize)]
enum Role {
    Reader,
    Writer { teams: Vec<u32> },
}

/// What a bare crate gives back.
type Bared<T> = Result<T, Box<dyn Error>>;

/// A format: the name of its handler, and what its crate does by itself.
struct Bare<T> {
    name: &'static str,
    encode: fn(&T) -> Bared<Vec<u8>>,
    decode: fn(&[u8]) -> Bared<T>,
}

fn formats<T: Serialize + DeserializeOwned>() -> [Bare<T>; 3] {
    [
        Bare {
            name: "msgpack",
            encode: |value| Ok(rmp_serde::to_vec_named(value)?),
            decode: |bytes| Ok(rmp_serde::from_slice(bytes)?),
        },
        Bare {
            name: "bincode",
            encode: |value| Ok(bincode::serde::encode_to_vec(value, standard())?),
            decode: |bytes| Ok(bincode::serde::decode_from_slice(bytes, standard())?.0),
        },
        Bare {
            name: "postcard",
            encode: |value| Ok(postcard::to_stdvec(value)?),
            decode: |bytes| Ok(postcard::from_bytes(bytes)?),
        },
    ]
}

fn run(scale: Scale, report: &mut Report<'_>) -> Result<(), Box<dyn Error>> {
    let mut random = Random::new(7);
    let floats = scale.pick(1_000_000, 10_000);
    let series = Series {
        name: "north".into(),
        floats: (0..floats).map(|_| f64::from_bits(random.next() >> 2)).collect(),
    };
    let user = User {
        id: 300,
        name: "Ada".into(),
        email: Some("ada@example.org".into()),
        roles: vec![Role::Reader, Role::Writer { teams: vec![7, 300] }],
        scores: (0.5, 60_000),
    };
    report.comparisons()?;
    let few = Plan { batches: scale.pick(50, 5), size: 1 };
    measure(&format!("{floats} floats"), &series, few, report)?;
    measure("small struct", &user, Plan::new(scale), report)
}

fn measure<T: Serialize + DeserializeOwned + Send + Sync + 'static>(
    what: &str,
    value: &T,
    plan: Plan,
    report: &mut Report<'_>,
) -> Result<(), Box<dyn Error>> {
    let items = |size: usize| -> Vec<Item> {
        (0..size as u64).map(|number| Item { key: number.to_string(), value: Vec::new() }).collect()
    };
    for Bare { name, encode, decode } in formats::<T>() {
        let cache = Cache::memory()?;
        let put = Side::new("Cacheness", |items| {
            for item in items {
                cache.put_with(&item.key, value, PutOptions::new().handler(name))?;
            }
            Ok(())
        });
        let bare_put = Side::new("the bare crate", |items| {
            for _ in items {
                black_box(encode(value)?);
            }
            Ok(())
        });
        let times = in_turns(plan, items, vec![put, bare_put])?;
        report.compare(&format!("{name}, put, {what}"), &times, None)?;

        let bytes = encode(value)?;
        let get = Side::new("Cacheness", |items| {
            for item in items {
                let value: Option<T> = cache.get(&item.key)?;
                black_box(value.ok_or("an entry is missing")?);
            }
            Ok(())
        });
        let bare_get = Side::new("the bare crate", |items| {
            for _ in items {
                black_box(decode(&bytes)?);
            }
            Ok(())
        });
        let times = in_turns(plan, items, vec![get, bare_get])?;
        report.compare(&format!("{name}, get, {what}"), &times, None)?;
    }
    Ok(())
}

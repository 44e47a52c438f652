//! Lists the blobs of one cache, folder by folder, a page at a time.

use std::io::ErrorKind as Io;
use std::path::Path;

use cacheness_core::{BlobId, BlobPage, CacheId, Error, ErrorKind, Result};
use fs_err as fs;

use super::files::{Folder, shard_of};

/// How many folders one page looks into. Folders stay when their blobs are deleted, so there may be many empty ones.
const FOLDERS_PER_PAGE: usize = 4_096;

/// The place after which a page begins: in the order of shard and id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    xx: String,
    yy: String,
    /// Empty before the first blob of the shard.
    id: String,
}

impl Place {
    fn parse(text: &str) -> Result<Self> {
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(xx), Some(yy), Some(id), None) if is_shard(xx) && is_shard(yy) => {
                Ok(Self { xx: xx.to_owned(), yy: yy.to_owned(), id: id.to_owned() })
            }
            _ => {
                let message =
                    format!("`{text}` is no place in a listing of blobs; pass the `next` of the page before");
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
        }
    }

    fn text(&self) -> String {
        format!("{}/{}/{}", self.xx, self.yy, self.id)
    }
}

impl Folder {
    pub(super) fn list(&self, cache: CacheId, after: Option<&str>, limit: usize) -> Result<BlobPage> {
        let after = after.map(Place::parse).transpose()?;
        let limit = limit.max(1);
        let folder = self.cache_folder(cache);
        self.check_way(&folder)?;
        let mut page = BlobPage::default();
        let Some(firsts) = names(&folder, is_folder)? else {
            self.check_present()?;
            return Ok(page);
        };
        let mut visited = 0;
        for xx in firsts.into_iter().filter(|xx| after.as_ref().is_none_or(|after| *xx >= after.xx)) {
            let folder = folder.join(&xx);
            for yy in names(&folder, is_folder)?.unwrap_or_default() {
                let mut place = Place { xx: xx.clone(), yy, id: String::new() };
                if after.as_ref().is_some_and(|after| (&place.xx, &place.yy) < (&after.xx, &after.yy)) {
                    continue;
                }
                if visited == FOLDERS_PER_PAGE {
                    page.next = Some(place.text());
                    return Ok(page);
                }
                visited += 1;
                let shard = (place.xx.clone(), place.yy.clone());
                let is_blob = |name: &str, kind: std::fs::FileType| {
                    kind.is_file() && BlobId::parse(name).is_some() && shard_of(name) == (&shard.0, &shard.1)
                };
                for id in names(&folder.join(&place.yy), is_blob)?.unwrap_or_default() {
                    let next = Place { id, ..place.clone() };
                    if after.as_ref().is_some_and(|after| next <= *after) {
                        continue;
                    }
                    if page.blobs.len() == limit {
                        page.next = Some(place.text());
                        return Ok(page);
                    }
                    page.blobs.extend(BlobId::parse(&next.id));
                    place = next;
                }
            }
        }
        Ok(page)
    }
}

/// The names in a folder that are wanted, sorted; `None` where there is no folder.
fn names(folder: &Path, wanted: impl Fn(&str, std::fs::FileType) -> bool) -> Result<Option<Vec<String>>> {
    let failed = |error| Error::io(error, "the blobs cannot be listed");
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == Io::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) else { continue };
        if wanted(&name, kind) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(Some(names))
}

fn is_folder(name: &str, kind: std::fs::FileType) -> bool {
    kind.is_dir() && is_shard(name)
}

fn is_shard(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

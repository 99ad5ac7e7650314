//! Bundles (`.mcpb`, formerly `.dxt`): ZIP archives with the manifest and the files of a server. Unpacks them into a folder.
//!
//! Bundles come from the network. Everything is bounded, and nothing is written outside of the folder: names with `..` and absolute names
//! are refused, and links become files. Format: PKWARE APPNOTE 6.3, without ZIP64, encryption and other methods than stored and deflated.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Component, Path, PathBuf},
};

use miniz_oxide::inflate::decompress_to_vec_with_limit;

use super::{error::ConfigError, private};
use crate::files::{self, Allowed};

/// Largest archive in bytes.
const LARGEST: u64 = 512 << 20;
/// Most bytes of all files.
const MOST_BYTES: usize = 1 << 30;
/// Most files.
const MOST_FILES: usize = 50_000;

/// Name of the manifest.
const MANIFEST: &str = "manifest.json";

/// Signatures of the records.
const END: [u8; 4] = *b"PK\x05\x06";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const LOCAL: [u8; 4] = *b"PK\x03\x04";

/// A file of an archive.
struct Entry {
    name: PathBuf,
    method: u16,
    crc: u32,
    packed: usize,
    size: usize,
    offset: usize,
    executable: bool,
}

/// Returns whether a file is a bundle, by its extension.
pub fn is_bundle(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "mcpb" || extension == "dxt")
}

/// Unpacks a bundle into a folder of its own below `folder`, in place of an earlier one of the same file name; returns the path of its
/// manifest.
pub fn unpack_bundle(bundle: &Path, folder: &Path) -> Result<PathBuf, ConfigError> {
    let broken = |why: &str| ConfigError::new(format!("is not a bundle: {why}")).in_file(bundle);
    let failed = |error: io::Error| ConfigError::new(format!("cannot be unpacked: {error}")).in_file(bundle);
    let bytes = files::read(bundle, Allowed { bytes: LARGEST, within: None })
        .map_err(|error| ConfigError::new(format!("cannot be read: {error}")).in_file(bundle))?;
    let entries = entries(&bytes).map_err(&broken)?;
    if !entries.iter().any(|entry| entry.name == Path::new(MANIFEST)) {
        return Err(broken("it has no manifest.json"));
    }
    let name = bundle.file_stem().unwrap_or_default();
    let (target, new) = (folder.join(name), folder.join(format!(".{}.new", name.to_string_lossy())));
    private::folder(folder).map_err(failed)?;
    remove(&new).map_err(failed)?;
    fs::create_dir(&new).map_err(failed)?;
    let mut left = MOST_BYTES;
    for entry in &entries {
        let content = content(&bytes, entry, left).map_err(&broken)?;
        left = left.saturating_sub(content.len());
        write(&new, entry, &content).map_err(failed)?;
    }
    remove(&target).map_err(failed)?;
    fs::rename(&new, &target).map_err(failed)?;
    Ok(target.join(MANIFEST))
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write(folder: &Path, entry: &Entry, content: &[u8]) -> io::Result<()> {
    let path = folder.join(&entry.name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mode = if entry.executable { 0o700 } else { 0o600 };
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(content)
}

/// Returns an unsigned number of two bytes, little-endian.
fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// Returns an unsigned number of four bytes, little-endian.
fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// Returns the files of an archive. Fails with what is wrong with it.
fn entries(bytes: &[u8]) -> Result<Vec<Entry>, &'static str> {
    let cut = "the archive is cut or damaged";
    let window = bytes.len().saturating_sub(22 + usize::from(u16::MAX));
    let end = (window..bytes.len().saturating_sub(21)).rev().find(|at| bytes[*at..].starts_with(&END)).ok_or("it is not a ZIP archive")?;
    let count = usize::from(short(bytes, end + 10).ok_or(cut)?);
    if count > MOST_FILES {
        return Err("it has too many files");
    }
    let mut at = long(bytes, end + 16).ok_or(cut)? as usize;
    let mut found: Vec<Entry> = vec![];
    for _ in 0..count {
        if !bytes.get(at..).is_some_and(|rest| rest.starts_with(&CENTRAL)) {
            return Err(cut);
        }
        let half = |offset: usize| short(bytes, at + offset).ok_or(cut);
        let word = |offset: usize| long(bytes, at + offset).map(|word| word as usize).ok_or(cut);
        let (name_length, extra, comment) = (usize::from(half(28)?), usize::from(half(30)?), usize::from(half(32)?));
        let name = bytes.get(at + 46..at + 46 + name_length).ok_or(cut)?;
        let name = std::str::from_utf8(name).map_err(|_| "a name is not UTF-8")?;
        if half(8)? & 1 != 0 {
            return Err("it is encrypted");
        }
        // Folders are made for their files.
        if !name.ends_with('/') {
            found.push(Entry {
                name: inside(name).ok_or("a name leads out of the archive")?,
                method: half(10)?,
                crc: long(bytes, at + 16).ok_or(cut)?,
                packed: word(20)?,
                size: word(24)?,
                offset: word(42)?,
                // The upper half of the external attributes is the mode on Unix.
                executable: half(40)? & 0o111 != 0,
            });
        }
        at += 46 + name_length + extra + comment;
    }
    Ok(found)
}

/// Returns the name if it stays inside of a folder.
fn inside(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let plain = !name.is_empty() && !name.contains(['\\', '\0']) && path.components().all(|part| matches!(part, Component::Normal(_)));
    plain.then(|| path.to_owned())
}

/// Returns the content of a file, which has at most `left` bytes.
fn content(bytes: &[u8], entry: &Entry, left: usize) -> Result<Vec<u8>, &'static str> {
    let cut = "the archive is cut or damaged";
    if entry.size > left {
        return Err("it has too much content");
    }
    if !bytes.get(entry.offset..).is_some_and(|rest| rest.starts_with(&LOCAL)) {
        return Err(cut);
    }
    let half = |offset: usize| short(bytes, entry.offset + offset).map(usize::from).ok_or(cut);
    let start = entry.offset + 30 + half(26)? + half(28)?;
    let packed = start.checked_add(entry.packed).and_then(|end| bytes.get(start..end)).ok_or(cut)?;
    let content = match entry.method {
        0 => packed.to_vec(),
        8 => decompress_to_vec_with_limit(packed, entry.size).map_err(|_| cut)?,
        _ => return Err("it is compressed by an unknown method"),
    };
    if content.len() == entry.size && crc32(&content) == entry.crc { Ok(content) } else { Err(cut) }
}

/// Returns the checksum of the archive format (CRC-32 of ISO-HDLC).
fn crc32(bytes: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|index| {
        (0..8).fold(u32::try_from(index).unwrap_or_default(), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    });
    !bytes.iter().fold(u32::MAX, |crc, byte| (crc >> 8) ^ table[((crc ^ u32::from(*byte)) & 0xFF) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;
    use miniz_oxide::deflate::compress_to_vec;
    use std::os::unix::fs::PermissionsExt;

    /// An archive with these files; the mode of the first is that of a program.
    fn archive(files: &[(&str, &[u8], bool)]) -> Vec<u8> {
        let (mut out, mut central) = (vec![], vec![]);
        for (index, (name, content, deflated)) in files.iter().enumerate() {
            let packed = if *deflated { compress_to_vec(content, 6) } else { content.to_vec() };
            let offset = out.len() as u32;
            let mut fields = vec![];
            fields.extend(20u16.to_le_bytes());
            fields.extend(0u16.to_le_bytes());
            fields.extend(if *deflated { 8u16 } else { 0 }.to_le_bytes());
            fields.extend([0; 4]);
            fields.extend(crc32(content).to_le_bytes());
            fields.extend((packed.len() as u32).to_le_bytes());
            fields.extend((content.len() as u32).to_le_bytes());
            fields.extend((name.len() as u16).to_le_bytes());
            fields.extend(0u16.to_le_bytes());
            out.extend(LOCAL);
            out.extend(&fields);
            out.extend(name.as_bytes());
            out.extend(&packed);
            central.extend(CENTRAL);
            central.extend(20u16.to_le_bytes());
            central.extend(&fields);
            central.extend([0; 6]);
            central.extend(0u16.to_le_bytes());
            central.extend((if index == 0 { 0o755u16 } else { 0o644 }).to_le_bytes());
            central.extend(offset.to_le_bytes());
            central.extend(name.as_bytes());
        }
        let at = out.len() as u32;
        out.extend(&central);
        out.extend(END);
        out.extend([0; 4]);
        out.extend((files.len() as u16).to_le_bytes());
        out.extend((files.len() as u16).to_le_bytes());
        out.extend((central.len() as u32).to_le_bytes());
        out.extend(at.to_le_bytes());
        out.extend(0u16.to_le_bytes());
        out
    }

    fn unpacked(bytes: &[u8]) -> (tempfile::TempDir, Result<PathBuf, String>) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("clock.mcpb");
        fs::write(&file, bytes).unwrap();
        let unpacked = unpack_bundle(&file, &dir.path().join("bundles")).map_err(|error| error.to_string());
        (dir, unpacked)
    }

    fn refused(bytes: &[u8]) -> String {
        unpacked(bytes).1.unwrap_err()
    }

    #[test]
    fn a_bundle_is_unpacked_into_a_folder_of_its_own() {
        let bytes = archive(&[("server/run", b"#!/bin/sh\n", true), (MANIFEST, b"{}", false)]);
        let (_dir, manifest) = unpacked(&bytes);
        let manifest = manifest.unwrap();
        assert!(manifest.ends_with("bundles/clock/manifest.json"));
        let run = manifest.with_file_name("server").join("run");
        assert_eq!(fs::read(&run).unwrap(), b"#!/bin/sh\n");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&run), mode(&manifest)), (0o700, 0o600));
        // Again: the files of the earlier version are gone.
        let folder = manifest.parent().unwrap().parent().unwrap();
        let file = folder.with_file_name("clock.mcpb");
        fs::write(&file, archive(&[(MANIFEST, b"{}", false)])).unwrap();
        unpack_bundle(&file, folder).unwrap();
        assert!(!run.exists() && manifest.exists());
    }

    #[test]
    fn hostile_and_damaged_archives_are_refused() {
        for name in ["../out", "/etc/x", "a/../../out", "a\\b", ""] {
            let why = refused(&archive(&[(name, b"x", false), (MANIFEST, b"{}", false)]));
            assert!(why.contains("leads out"), "{name}: {why}");
        }
        assert!(refused(b"no archive").contains("not a ZIP"));
        assert!(refused(&archive(&[("x", b"x", false)])).contains("no manifest.json"));
        let good = archive(&[(MANIFEST, &[b'a'; 5000], true)]);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x55;
            // It is refused or harmless; it never panics.
            for entry in entries(&bad).unwrap_or_default() {
                let _ = content(&bad, &entry, 10_000);
            }
        }
        let end = good.len() - 22;
        let mut damaged = good.clone();
        damaged[45] ^= 0xFF;
        assert!(refused(&damaged).contains("damaged"));
        assert!(entries(&good[..end]).is_err());
        assert!(content(&good, &entries(&good).unwrap()[0], 100).is_err(), "bounded");
    }

    #[test]
    fn the_checksum_is_that_of_the_format() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }
}

//! What an ELF file says of the interpreter in it.
//!
//! In: a file, hostile. Out: [`Image`]: the addresses of `_PyRuntime` and `Py_Version`, whether asyncio and
//! contexts are built in, and how the file is laid out in memory; whether an executable runs on musl. Sizes
//! are bounded before anything is read.

use std::fs::File;
use std::io::{Read, Seek};

use object::LittleEndian;
use object::elf::{
    DT_NULL, DT_SONAME, FileHeader64, PT_DYNAMIC, PT_INTERP, PT_LOAD, ProgramHeader64, SHN_UNDEF, SHT_DYNSYM,
    SHT_SYMTAB, Sym64,
};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::read::{ReadCache, ReadRef};

/// Larger files are not looked into: no interpreter is, machine-learning libraries are.
pub(super) const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;
/// Larger tables of symbols or names are not looked into.
const MAX_TABLE_BYTES: u64 = 64 * 1024 * 1024;
/// Segments kept.
const MAX_SEGMENTS: usize = 64;
/// Every build exports it.
const RUNTIME: &[u8] = b"_PyRuntime\0";
/// From 3.10 on `_PyRuntime` alone is in a section of this name, which stripping leaves.
const RUNTIME_SECTION: &[u8] = b".PyRuntime";
/// In every executable that is linked to glibc, statically too; musl's have none.
const GLIBC_SECTION: &[u8] = b".note.ABI-tag";
/// Longest path of a loader.
const MAX_LOADER_BYTES: u64 = 4096;
/// Exported from 3.11 on.
const VERSION: &[u8] = b"Py_Version\0";
/// Defined where that module is built into the interpreter.
const ASYNCIO: &[u8] = b"PyInit__asyncio\0";
/// See [`ASYNCIO`]. From 3.14 on it always is.
const CONTEXTVARS: &[u8] = b"PyInit__contextvars\0";

/// An interpreter in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    /// Address of `_PyRuntime` as the file has it.
    pub runtime: u64,
    /// Address of `Py_Version`, if it is there.
    pub version: Option<u64>,
    /// The module `_asyncio` is built in.
    pub has_asyncio: bool,
    /// The module `_contextvars` is built in.
    pub has_contexts: bool,
    /// Loaded segments: place in the file and address.
    pub segments: Vec<(u64, u64)>,
}

impl Image {
    /// What must be added to the file's addresses, by where a mapping of the file begins; `None` where no
    /// segment begins there. Mappings begin at pages, whose size is the machine's: on arm64 a kernel has
    /// 4, 16 or 64 KiB.
    pub(super) fn bias(&self, start: u64, offset: u64, page_bytes: u64) -> Option<u64> {
        let page = |value: u64| value & !page_bytes.wrapping_sub(1);
        let (_, address) = self.segments.iter().find(|(place, _)| page(*place) == offset)?;
        start.checked_sub(page(*address))
    }
}

/// The interpreter in a file; `None` where there is none, or the file is not what we can read.
pub(super) fn interpreter(mut file: File) -> Option<Image> {
    let mut magic = [0; 4];
    file.read_exact(&mut magic).ok()?;
    if magic != *b"\x7fELF" || file.metadata().ok()?.len() > MAX_FILE_BYTES {
        return None;
    }
    parse(file)
}

/// Whether an executable runs on musl's C library: its loader is musl's, or it has none, as it is static, and
/// nothing of glibc. What has a name as a library is a loader that was told what to run
/// (`ld-linux-x86-64.so.2 python3`), which has none and nothing of glibc either.
pub(super) fn runs_on_musl(file: impl Read + Seek) -> bool {
    on_musl(file).unwrap_or(false)
}

fn on_musl(file: impl Read + Seek) -> Option<bool> {
    let data = ReadCache::new(file);
    let endian = LittleEndian;
    let header = FileHeader64::<LittleEndian>::parse(&data).ok()?;
    let segments = header.program_headers(endian, &data).ok()?;
    if let Some(loader) = segments.iter().find(|segment| segment.p_type(endian) == PT_INTERP) {
        if loader.p_filesz(endian) > MAX_LOADER_BYTES {
            return None;
        }
        let path = loader.data(endian, &data).ok()?;
        let name = path.rsplit(|byte| *byte == b'/').next()?;
        return Some(name.starts_with(b"ld-musl-"));
    }
    if is_library(segments, &data) {
        return Some(false);
    }
    let sections = header.sections(endian, &data).ok()?;
    let has_names =
        sections.iter().any(|section| !sections.section_name(endian, section).unwrap_or_default().is_empty());
    let is_glibc = sections.iter().any(|section| sections.section_name(endian, section) == Ok(GLIBC_SECTION));
    Some(has_names && !is_glibc)
}

/// Whether a file names itself as a library (`DT_SONAME`).
fn is_library<'data>(segments: &[ProgramHeader64<LittleEndian>], data: impl ReadRef<'data>) -> bool {
    let endian = LittleEndian;
    let is_readable = |segment: &&ProgramHeader64<LittleEndian>| {
        segment.p_type(endian) == PT_DYNAMIC && segment.p_filesz(endian) <= MAX_TABLE_BYTES
    };
    let dynamic = segments.iter().find(is_readable).and_then(|segment| segment.dynamic(endian, data).ok()?);
    let tags = dynamic.into_iter().flatten().map(|entry| entry.d_tag(endian));
    tags.take_while(|tag| *tag != DT_NULL).any(|tag| tag == DT_SONAME)
}

/// As [`interpreter`], for any bytes.
pub(super) fn parse(file: impl Read + Seek) -> Option<Image> {
    let data = ReadCache::new(file);
    let endian = LittleEndian;
    let header = FileHeader64::<LittleEndian>::parse(&data).ok()?;
    if !header.is_little_endian() {
        return None;
    }
    let mut image = Image::default();
    let mut found = false;
    let sections = header.sections(endian, &data).ok()?;
    // Exported symbols first; a static build may keep them to itself.
    for table in [SHT_DYNSYM, SHT_SYMTAB] {
        for section in sections.iter().filter(|section| section.sh_type(endian) == table).take(4) {
            let Ok(names) = sections.section(object::SectionIndex(section.sh_link(endian) as usize)) else {
                continue;
            };
            if section.sh_size(endian) > MAX_TABLE_BYTES || names.sh_size(endian) > MAX_TABLE_BYTES {
                continue;
            }
            let symbols = section.data_as_array::<Sym64<LittleEndian>, _>(endian, &data);
            let (Ok(symbols), Ok(names)) = (symbols, names.data(endian, &data)) else { continue };
            for symbol in symbols.iter().filter(|symbol| symbol.st_shndx.get(endian) != SHN_UNDEF) {
                let name = usize::try_from(symbol.st_name.get(endian)).ok().and_then(|at| names.get(at..));
                match name {
                    Some(name) if name.starts_with(RUNTIME) => {
                        image.runtime = symbol.st_value.get(endian);
                        found = true;
                    }
                    Some(name) if name.starts_with(VERSION) => {
                        image.version = Some(symbol.st_value.get(endian));
                    }
                    Some(name) if name.starts_with(ASYNCIO) => image.has_asyncio = true,
                    Some(name) if name.starts_with(CONTEXTVARS) => image.has_contexts = true,
                    _ => {}
                }
            }
        }
        if found {
            break;
        }
    }
    if !found {
        let of_runtime = |section: &&_| sections.section_name(endian, section) == Ok(RUNTIME_SECTION);
        image.runtime = sections.iter().find(of_runtime)?.sh_addr(endian);
    }
    let segments = header.program_headers(endian, &data).ok()?;
    let loaded = segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD).take(MAX_SEGMENTS);
    image.segments = loaded.map(|segment| (segment.p_offset(endian), segment.p_vaddr(endian))).collect();
    Some(image)
}

//! The kernel's type information: which names exist, and at which offset a field is.
//!
//! In: a BTF file. Out: names and byte offsets.

use std::path::Path;

use btf::btf::{Btf, Struct, Type};

/// The kernel's type information.
pub struct KernelBtf(Btf);

/// The type information could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the kernel's type information at {path} cannot be read: {reason}")]
pub struct BtfUnreadable {
    /// Path of the file.
    pub path: String,
    /// Why.
    pub reason: String,
}

impl KernelBtf {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// If it is missing or is not BTF.
    pub fn load(path: &Path) -> Result<Self, BtfUnreadable> {
        Btf::from_file(path)
            .map(Self)
            .map_err(|error| BtfUnreadable { path: path.display().to_string(), reason: error.to_string() })
    }

    /// Whether a type or function of this name exists.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.get_type_by_name(name).is_ok()
    }

    /// Byte offset of a member; `path` is `member` or `member.inner`, anonymous members are looked through.
    #[must_use]
    pub fn offset(&self, of: &str, path: &str) -> Option<u32> {
        let mut current = self.structure(of)?;
        let mut bits = 0;
        for name in path.split('.') {
            let (offset, type_id) = self.member(current, name, 0)?;
            bits += offset;
            match self.0.get_type_by_id(type_id).ok().map(|found| &found.base_type) {
                Some(Type::Struct(inner) | Type::Union(inner)) => current = inner,
                _ => return (path.rsplit('.').next() == Some(name)).then_some(bits / 8),
            }
        }
        Some(bits / 8)
    }

    /// The structure of this name that has members: pointers and forward declarations may share the name.
    fn structure(&self, name: &str) -> Option<&Struct> {
        let is_wanted =
            |found: &btf::btf::FlattenedType| found.num_refs == 0 && found.name.as_deref() == Some(name);
        self.0.get_types().iter().find_map(|found| match &found.base_type {
            Type::Struct(members) if is_wanted(found) && !members.members.is_empty() => Some(members),
            _ => None,
        })
    }

    fn member(&self, of: &Struct, name: &str, depth: u32) -> Option<(u32, u32)> {
        // No structure nests anonymous members deeper; a loop in a broken file ends here.
        if depth > 8 {
            return None;
        }
        for member in &of.members {
            match member.name.as_deref() {
                Some(found) if found == name => return Some((member.offset, member.type_id)),
                None | Some("") => {
                    let inner = self.0.get_type_by_id(member.type_id).ok();
                    if let Some(Type::Struct(inner) | Type::Union(inner)) =
                        inner.map(|found| &found.base_type)
                        && let Some((offset, type_id)) = self.member(inner, name, depth + 1)
                    {
                        return Some((member.offset + offset, type_id));
                    }
                }
                Some(_) => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_file_is_an_error_that_names_it() {
        let Err(error) = KernelBtf::load(Path::new("/nonexistent/vmlinux")) else { panic!("loaded nothing") };
        assert!(error.to_string().contains("/nonexistent/vmlinux"));
    }

    #[test]
    fn running_kernel_has_the_fields_that_programs_read() {
        let Ok(btf) = KernelBtf::load(Path::new(crate::capability::KERNEL_BTF)) else {
            eprintln!("skipped: this kernel publishes no type information");
            return;
        };
        let tgid = btf.offset("task_struct", "tgid");
        let pid = btf.offset("task_struct", "pid");
        assert_eq!(
            tgid.zip(pid).map(|(tgid, pid)| tgid - pid),
            Some(4),
            "pid and tgid are neighbours in every kernel"
        );
        assert_eq!(btf.offset("sock", "__sk_common.skc_family"), btf.offset("sock_common", "skc_family"));
        assert!(btf.offset("sock_common", "skc_num").is_some(), "inside two anonymous members");
        assert_eq!(btf.offset("task_struct", "no_such_member"), None);
        assert_eq!(btf.offset("no_such_struct", "member"), None);
    }
}

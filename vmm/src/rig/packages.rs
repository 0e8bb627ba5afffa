//! The exact command that installs what is missing, for the distribution at hand.
//!
//! Source: os-release(5).

use std::fs;

/// Something that distributions package under different names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The x86 system emulator.
    Qemu,
    /// The x86 emulator with VMX, its terminal display and firmware, and what makes its boot CD.
    Bochs,
    /// A kernel with its KVM modules.
    Kernel,
}

/// Distributions that [`BOCHS_COMMAND`] is for. Others package the parts differently, or not at all.
const BOCHS_DISTRIBUTIONS: [&str; 2] = ["debian", "ubuntu"];

/// Command for [`Wanted::Bochs`].
const BOCHS_COMMAND: &str =
    "sudo apt-get install bochs bochs-term bochsbios vgabios grub-pc-bin grub-common xorriso mtools";

/// (identifiers in os-release, command for [`Wanted::Qemu`], command for [`Wanted::Kernel`])
const COMMANDS: &[(&[&str], &str, &str)] = &[
    (
        &["ubuntu"],
        "sudo apt-get install qemu-system-x86",
        "sudo apt-get install linux-image-virtual",
    ),
    (
        &["debian"],
        "sudo apt-get install qemu-system-x86",
        "sudo apt-get install linux-image-cloud-amd64",
    ),
    (
        &["fedora", "rhel"],
        "sudo dnf install qemu-system-x86-core",
        "sudo dnf install kernel-core kernel-modules",
    ),
    (&["arch"], "sudo pacman -S qemu-system-x86", "sudo pacman -S linux"),
    (
        &["suse", "opensuse"],
        "sudo zypper install qemu-x86",
        "sudo zypper install kernel-default",
    ),
    (
        &["alpine"],
        "sudo apk add qemu-system-x86_64",
        "sudo apk add linux-virt",
    ),
];

/// What to do about `wanted` on this distribution, as the end of a sentence.
pub(super) fn remedy(wanted: Wanted) -> String {
    let read = |path| fs::read_to_string(path).ok();
    remedy_for(
        wanted,
        &read("/etc/os-release")
            .or_else(|| read("/usr/lib/os-release"))
            .unwrap_or_default(),
    )
}

fn remedy_for(wanted: Wanted, os_release: &str) -> String {
    let command = identifiers(os_release).find_map(|id| {
        if wanted == Wanted::Bochs {
            return BOCHS_DISTRIBUTIONS.contains(&id).then_some(BOCHS_COMMAND);
        }
        let row = COMMANDS.iter().find(|(ids, ..)| ids.contains(&id))?;
        Some(if wanted == Wanted::Qemu { row.1 } else { row.2 })
    });
    match (wanted, command) {
        (Wanted::Qemu | Wanted::Bochs, Some(command)) => format!("run `{command}`"),
        (Wanted::Qemu, None) => "install QEMU's x86 system emulator".to_owned(),
        (Wanted::Bochs, None) => {
            "install Bochs with its terminal display, BIOS and VGA BIOS, GRUB for the PC BIOS, xorriso and mtools"
                .into()
        }
        (Wanted::Kernel, Some(command)) => format!("run `{command}`, or give --kernel FILE and --modules DIR"),
        (Wanted::Kernel, None) => "give --kernel FILE and --modules DIR".to_owned(),
    }
}

/// The distribution's own identifier, then those it is like, nearest first.
fn identifiers(os_release: &str) -> impl Iterator<Item = &str> {
    let value = |key: &str| {
        let line = os_release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().trim().trim_matches(['"', '\''])
    };
    std::iter::once(value("ID")).chain(value("ID_LIKE").split_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_the_distributions() {
        let cases = [
            ("ID=debian\n", "run `sudo apt-get install qemu-system-x86`"),
            (
                "NAME=x\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n",
                "run `sudo dnf install qemu-system-x86-core`",
            ),
            (
                "ID=linuxmint\nID_LIKE='ubuntu debian'\n",
                "run `sudo apt-get install qemu-system-x86`",
            ),
            ("ID=unheard-of\n", "install QEMU's x86 system emulator"),
            ("", "install QEMU's x86 system emulator"),
        ];
        for (os_release, expected) in cases {
            assert_eq!(remedy_for(Wanted::Qemu, os_release), expected, "{os_release}");
        }
        assert_eq!(
            remedy_for(Wanted::Kernel, "ID_LIKE=debian\n"),
            "run `sudo apt-get install linux-image-cloud-amd64`, or give --kernel FILE and --modules DIR"
        );
        assert_eq!(
            remedy_for(Wanted::Bochs, "ID=linuxmint\nID_LIKE='ubuntu debian'\n"),
            "run `sudo apt-get install bochs bochs-term bochsbios vgabios grub-pc-bin grub-common xorriso mtools`"
        );
        assert!(remedy_for(Wanted::Bochs, "ID=fedora\n").starts_with("install Bochs with "));
        assert_eq!(remedy_for(Wanted::Kernel, ""), "give --kernel FILE and --modules DIR");
    }
}

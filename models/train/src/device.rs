//! Where training computes: the CPU's own kernel, or burn on whatever it was compiled for.

use std::{fmt, str::FromStr};

use burn::tensor::Device as BurnDevice;

/// A device as the operator names it: `cpu`, `flex`, `cuda`, `vulkan` or `wgpu`, the last three with an index, `cuda:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The fused kernel on all threads of this machine.
    Cpu,
    /// burn on the CPU: slower, there to check the others against.
    Flex,
    /// burn on an NVIDIA card.
    Cuda(usize),
    /// burn on a discrete GPU by Vulkan.
    Vulkan(usize),
    /// burn on whatever wgpu finds: a GPU, or a software renderer.
    Wgpu(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Flex => f.write_str("flex"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Vulkan(index) => write!(f, "vulkan:{index}"),
            Self::Wgpu(index) => write!(f, "wgpu:{index}"),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, index) = text.split_once(':').unwrap_or((text, "0"));
        let index: usize = index.parse().map_err(|_| format!("{text:?}: a number is needed after the colon"))?;
        match name {
            "cpu" => Ok(Self::Cpu),
            "flex" => Ok(Self::Flex),
            "cuda" => Ok(Self::Cuda(index)),
            "vulkan" => Ok(Self::Vulkan(index)),
            "wgpu" => Ok(Self::Wgpu(index)),
            _ => Err(format!("{text:?} is no device: cpu, flex, cuda, vulkan or wgpu is needed")),
        }
    }
}

impl Device {
    /// burn's device; `None` for the CPU's own kernel.
    ///
    /// # Errors
    /// Where this program was built without it, or the machine has none.
    pub fn burn(self) -> anyhow::Result<Option<BurnDevice>> {
        match self {
            Self::Cpu => Ok(None),
            Self::Flex => Ok(Some(BurnDevice::flex())),
            Self::Cuda(index) => cuda(index).map(Some),
            Self::Vulkan(index) => vulkan(index).map(Some),
            Self::Wgpu(index) => wgpu(index).map(Some),
        }
    }
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> anyhow::Result<BurnDevice> {
    // burn does not look before it leaps: without a driver its first tensor would end the process.
    let driver = ["/usr/lib", "/usr/lib64", "/lib", "/usr/lib/x86_64-linux-gnu", "/usr/local/cuda/compat"];
    let found = driver.iter().any(|folder| std::path::Path::new(folder).join("libcuda.so.1").exists());
    anyhow::ensure!(found, "cuda:{index}: no NVIDIA driver (libcuda.so.1) on this machine");
    Ok(BurnDevice::cuda(index))
}

#[cfg(not(feature = "cuda"))]
fn cuda(index: usize) -> anyhow::Result<BurnDevice> {
    anyhow::bail!("cuda:{index}: this program was built without it; build ballast-train with --features cuda")
}

#[cfg(feature = "vulkan")]
fn vulkan(index: usize) -> anyhow::Result<BurnDevice> {
    Ok(BurnDevice::vulkan(burn::tensor::DeviceKind::DiscreteGpu(index)))
}

#[cfg(not(feature = "vulkan"))]
fn vulkan(index: usize) -> anyhow::Result<BurnDevice> {
    anyhow::bail!("vulkan:{index}: this program was built without it; build ballast-train with --features vulkan")
}

#[cfg(feature = "wgpu")]
fn wgpu(index: usize) -> anyhow::Result<BurnDevice> {
    use burn::tensor::DeviceKind;
    Ok(BurnDevice::wgpu(if index == 0 { DeviceKind::DefaultDevice } else { DeviceKind::DiscreteGpu(index) }))
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(index: usize) -> anyhow::Result<BurnDevice> {
    anyhow::bail!("wgpu:{index}: this program was built without it; build ballast-train with --features wgpu")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for device in [Device::Cpu, Device::Cuda(1), Device::Vulkan(0), Device::Wgpu(2)] {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
        assert_eq!(
            "tpu".parse::<Device>().unwrap_err(),
            "\"tpu\" is no device: cpu, flex, cuda, vulkan or wgpu is needed"
        );
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_that_was_not_built_in_is_refused_by_name() {
        let error = Device::Cuda(0).burn().unwrap_err().to_string();
        assert_eq!(error, "cuda:0: this program was built without it; build ballast-train with --features cuda");
    }
}

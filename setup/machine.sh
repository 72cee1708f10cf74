# shellcheck shell=bash disable=SC2034
# Sourced by setup/install: what this machine is. Sets
#   capability    compute capability of the first NVIDIA GPU ("8.9"), or empty
#   gpu_name      its name
#   torch_root    folder of the user's own torch that LibTorch can be taken from, or empty
#   torch_note    one line about it
#   tensorrt_sdk  folder of an installed TensorRT SDK, or empty
#   nvcc          an installed nvcc that can compile ferry's kernels, or empty

look_at_gpu() {
  local line=
  capability='' gpu_name=''
  command -v nvidia-smi >/dev/null || return 0
  line=$(timeout 20 nvidia-smi --query-gpu=compute_cap,name --format=csv,noheader 2>/dev/null | head -n 1) || true
  [[ $line =~ ^([0-9]+\.[0-9]+),\ *(.*)$ ]] || return 0
  capability=${BASH_REMATCH[1]} gpu_name=${BASH_REMATCH[2]}
}

# The folder of `torch` without importing it (that takes seconds), its version and whether it can be linked.
look_at_torch() {
  local python=${FERRY_PYTHON:-python3} root version
  torch_root='' torch_note='no PyTorch in your Python'
  root=$("$python" -c 'import importlib.util as u
spec = u.find_spec("torch")
print(spec.submodule_search_locations[0] if spec and spec.submodule_search_locations else "")' 2>/dev/null) || return 0
  [[ -n $root && -f $root/version.py ]] || return 0
  version=$(sed -nE "s/^__version__ = '([0-9.]+).*/\1/p" "$root/version.py")
  if ((${version%%.*} < 2)); then
    torch_note="your PyTorch $version is older than 2.0"
  elif [[ ! -f $root/include/torch/csrc/api/include/torch/torch.h || ! -f $root/lib/libtorch_cpu.so ]]; then
    torch_note="your PyTorch $version has no C++ headers"
  elif ! grep -q -m1 -a 'NSt7__cxx1112basic_string' "$root/lib/libc10.so"; then
    torch_note="your PyTorch $version was built with the old C++ ABI"
  elif [[ -n $capability && ! -f $root/lib/libtorch_cuda.so ]]; then
    torch_note="your PyTorch $version has no CUDA, and this machine has a GPU"
  else
    torch_root=$root torch_note="your own PyTorch $version in $root"
  fi
}

look_at_tensorrt() {
  local folder
  tensorrt_sdk=''
  for folder in ${FERRY_TENSORRT_DIR:+"$FERRY_TENSORRT_DIR"} /usr/local/tensorrt /opt/tensorrt; do
    if [[ -f $folder/include/NvInfer.h ]]; then
      tensorrt_sdk=$folder
      return
    fi
  done
  if [[ -f /usr/include/x86_64-linux-gnu/NvInfer.h ]]; then
    tensorrt_sdk=/usr
  fi
}

# nvcc 12.8 is the first that knows every GPU ferry compiles for. The same places as in cmake/CudaKernels.cmake.
look_at_nvcc() {
  local candidate release
  nvcc=''
  for candidate in ${CUDACXX:+"$CUDACXX"} ${CUDA_HOME:+"$CUDA_HOME/bin/nvcc"} nvcc /usr/local/cuda/bin/nvcc; do
    candidate=$(command -v "$candidate") || continue
    release=$("$candidate" --version 2>/dev/null | sed -nE 's/.*release ([0-9.]+),.*/\1/p') || continue
    if [[ -n $release && $(printf '%s\n' 12.8 "$release" | sort -V | head -n 1) == 12.8 ]]; then
      nvcc=$candidate
      return
    fi
  done
}

look_at_machine() {
  [[ $(uname -sm) == 'Linux x86_64' ]] || fail "ferry is for Linux on x86-64; this is $(uname -sm)"
  look_at_gpu
  look_at_torch
  look_at_tensorrt
  look_at_nvcc
}

# TensorRT for RTX runs on 8.0, 8.6, 8.9 and 12.x; without a GPU it builds engines for these ahead of time.
runs_tensorrt_rtx() { [[ -z $capability || $capability =~ ^(8\.[069]|12\.[0-9]+)$ ]]; }

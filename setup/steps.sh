# shellcheck shell=bash
# Sourced by setup/install: what is missing, and how each part gets here.

tensorrt_pin='tensorrt-cu13-libs==11.4.0.106'

# missing_packages, filled from the lists; `a | b` is the first that the distribution has.
plan_packages() {
  local list line name wanted=() lists=("$here/apt.txt")
  missing_packages=()
  [[ $apt == yes ]] || return 0
  command -v apt-get >/dev/null ||
    fail "this is not Debian or Ubuntu: install the equivalents of setup/apt.txt yourself and run setup/install --no-apt"
  [[ $ci == yes ]] && lists+=("$here/apt-ci.txt")
  for list in "${lists[@]}"; do
    while read -r line; do
      [[ -z $line || $line == \#* ]] || wanted+=("$line")
    done <"$list"
  done
  [[ $dist == yes ]] && wanted+=(patchelf)
  local installed
  installed=" $(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' 2>/dev/null | sed -n 's/^ii *//p' | tr '\n' ' ')"
  for line in "${wanted[@]}"; do
    local here_already=no
    for name in ${line//|/ }; do
      [[ $installed == *" $name "* ]] && here_already=yes
    done
    [[ $here_already == yes ]] || missing_packages+=("$line")
  done
}

# The wheels for this machine: requirements, flavour, skip, missing_wheels.
plan_wheels() {
  requirements="$here/requirements.txt" flavour='' skip=()
  if [[ -n $torch_root ]]; then
    skip+=(--skip torch --skip nvidia-cuda-cupti)
  elif [[ -n $capability ]]; then
    requirements="$here/requirements-gpu.txt" flavour=+gpu
  fi
  runs_tensorrt_rtx || skip+=(--skip tensorrt-rtx-cu13-libs)
  if command -v python3 >/dev/null; then
    mapfile -t missing_wheels < <(wheels --plan)
  else
    mapfile -t missing_wheels < <(sed -nE 's/^([^ #]+) --hash.*/\1/p' "$requirements")
  fi
  missing_nvcc=()
  [[ -z $nvcc ]] || return 0
  if command -v python3 >/dev/null; then
    mapfile -t missing_nvcc < <(nvcc_wheels --plan)
  else
    missing_nvcc=(nvcc)
  fi
}

nvcc_wheels() { python3 "$here/wheels.py" "$here/requirements-nvcc.txt" --into "$deps/nvcc" --flavour=+nvcc "$@"; }
wheels() { python3 "$here/wheels.py" "$requirements" --into "$deps/wheels" --flavour="$flavour" "${skip[@]}" "$@"; }

needs_full_tensorrt() { [[ -n $capability && -z $tensorrt_sdk && ! -d $deps/wheels/tensorrt_libs ]] && ! runs_tensorrt_rtx; }

print_plan() {
  local how='as root'
  ((EUID == 0)) || how='with sudo'
  say "GPU: ${gpu_name:-none found}${capability:+ (compute capability $capability)}"
  if [[ -n $torch_root ]]; then say "LibTorch from: $torch_note"; else say "LibTorch from: the pinned wheel ($torch_note)"; fi
  local tensorrt=$tensorrt_sdk
  if [[ -z $tensorrt ]]; then
    runs_tensorrt_rtx && tensorrt='the TensorRT for RTX wheel' || tensorrt=$tensorrt_pin
  fi
  say "TensorRT from: $tensorrt"
  if ((${#missing_packages[@]})); then
    say "will install $how, with apt-get: ${missing_packages[*]%% |*}"
  fi
  if ((${#missing_wheels[@]})); then
    local size='0.8 GB, 1.1 GB on disk'
    [[ $flavour == +gpu ]] && size='3.0 GB, 5.5 GB on disk'
    [[ -n $torch_root ]] && size='0.2 GB, 0.5 GB on disk'
    say "will download (at most $size) into $deps: ${missing_wheels[*]}"
  fi
  say "nvcc from: ${nvcc:-the pinned wheels of CUDA 13.0}"
  if ((${#missing_nvcc[@]})); then say "will download nvcc (0.1 GB, 0.2 GB on disk) into $deps/nvcc"; fi
  if [[ ! -d $deps/headers/tensorrt_rtx ]]; then say "will download the TensorRT headers (5 MB) into $deps"; fi
  if needs_full_tensorrt; then say "will download $tensorrt_pin (several GB) into $deps"; fi
  if [[ $tests == yes && ! -d $deps/venv ]]; then say "will make a Python environment for the tests in $deps/venv"; fi
}

check_disk() {
  local need=200 free
  ((${#missing_nvcc[@]})) && need=600
  ((${#missing_wheels[@]})) && need=2500
  [[ $flavour == +gpu ]] && ((${#missing_wheels[@]})) && need=9000
  free=$(df -Pm "$deps" | awk 'NR == 2 { print $4 }')
  ((free >= need)) || fail "$deps has $free MB free and $need MB are needed; choose another folder with FERRY_DEPS_DIR"
}

install_packages() {
  ((${#missing_packages[@]})) || return 0
  local root=() line name names=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || fail "not root and no sudo; run as root: apt-get install ${missing_packages[*]%% |*}"
    root=(sudo)
  fi
  root+=(env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -qq)
  "${root[@]}" update || fail "apt-get update failed (above); is there a network?"
  for line in "${missing_packages[@]}"; do
    for name in ${line//|/ }; do
      if [[ -n $(apt-cache madison "$name" 2>/dev/null) ]]; then names+=("$name") && continue 2; fi
    done
    fail "this distribution has no package $line; ferry is tested on Debian 12 and newer and Ubuntu 24.04"
  done
  check_onnx
  say "apt-get install ${names[*]}"
  "${root[@]}" install --yes --no-install-recommends "${names[@]}" >"$deps/apt.log" 2>&1 ||
    { tail -n 20 "$deps/apt.log" >&2 && fail "apt-get install failed (above; all of it in $deps/apt.log)"; }
}

# Opset 17 came with ONNX 1.12; Ubuntu 22.04 has 1.7.
check_onnx() {
  local candidate
  candidate=$(apt-cache policy libonnx-dev 2>/dev/null | sed -nE 's/^ +Candidate: ([0-9.]+).*/\1/p')
  [[ -z $candidate || $(printf '%s\n' 1.12 "$candidate" | sort -V | head -n 1) == 1.12 ]] ||
    fail "this distribution has ONNX $candidate and ferry needs 1.12 or newer: use Debian 12 or Ubuntu 24.04, or newer ones"
}

# A Python with pip that belongs to ferry: Debian's own may have none, and must not be touched.
private_python() {
  local venv=$1 python
  [[ -x $venv/bin/pip ]] && return
  for python in ${FERRY_PYTHON:+"$FERRY_PYTHON"} python3 /usr/bin/python3; do
    "$python" -c 'import ensurepip, venv' 2>/dev/null || continue
    rm -rf "$venv" "$venv.new"
    "$python" -m venv "$venv.new" && rm -rf "$venv.new" && "$python" -m venv "$venv" && return
  done
  fail "found no Python 3 with the venv module; install python3-venv, or name one with FERRY_PYTHON"
}

install_wheels() {
  ((${#missing_wheels[@]} + ${#missing_nvcc[@]})) || return 0
  private_python "$deps/pip"
  if ((${#missing_wheels[@]})); then
    say "unpacking wheels into $deps/wheels"
    wheels --pip "$deps/pip/bin/python"
  fi
  if ((${#missing_nvcc[@]})); then
    say "unpacking nvcc into $deps/nvcc"
    nvcc_wheels --pip "$deps/pip/bin/python"
  fi
}

install_headers() {
  [[ -d $deps/headers/tensorrt_rtx && -d $deps/headers/tensorrt ]] && return
  local status=0
  say "fetching the TensorRT headers into $deps/headers"
  "$here/headers/fetch" "$deps/headers" || status=$?
  if ((status == 3)); then
    complete=no
    say "no TensorRT headers: no cargo here and none in apt. ferry is built without the TensorRT modules unless an SDK is" \
      "installed; install cargo 1.68 or newer, or set FERRY_TENSORRT_DIR to an SDK, and run this again"
  elif ((status)); then
    fail "could not fetch the TensorRT headers (above); run the same command again when the network is fine"
  fi
}

# For GPUs that TensorRT for RTX refuses. The package on the public index is a stub that fetches NVIDIA's own wheel.
install_full_tensorrt() {
  needs_full_tensorrt || return 0
  private_python "$deps/pip"
  local work="$deps/.unpack-tensorrt"
  rm -rf "$work" && mkdir -p "$work"
  if "$deps/pip/bin/pip" wheel --quiet --no-deps --wheel-dir "$work" "$tensorrt_pin" &&
    python3 -m zipfile -e "$work"/*.whl "$work/files"; then
    mv "$work/files/tensorrt_libs" "$deps/wheels/"
  else
    complete=no
    say "could not get $tensorrt_pin, so there will be no TensorRT engine for this GPU; install NVIDIA's TensorRT 10 or 11" \
      "and set FERRY_TENSORRT_DIR to its folder, then run this again"
  fi
  rm -rf "$work"
}

install_test_python() {
  local venv="$deps/venv" want
  want=$(sha256sum <"$here/requirements-test.txt")
  [[ -f $venv/.ready && $(<"$venv/.ready") == "$want" ]] && return
  private_python "$venv"
  say "installing the tests' Python packages into $venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    -r "$here/requirements-test.txt" ||
    fail "pip failed (above); run the same command again when the network and the disk are fine"
  echo "$want" >"$venv/.ready"
}

# What CMake should know: read by the top CMakeLists.txt.
write_settings() {
  cat >"$deps/settings.cmake.new" <<EOF
# Written by setup/install.
set(FERRY_TORCH_DIR "${torch_root:-$deps/wheels/torch}" CACHE PATH "LibTorch: a folder with include and lib")
EOF
  if [[ -n $tensorrt_sdk ]]; then
    local include=$tensorrt_sdk/include
    [[ -f $include/NvInfer.h ]] || include=/usr/include/x86_64-linux-gnu
    echo "set(FERRY_TENSORRT_INCLUDE_DIR \"$include\" CACHE PATH \"Headers of the installed TensorRT SDK\")" \
      >>"$deps/settings.cmake.new"
  fi
  mv "$deps/settings.cmake.new" "$deps/settings.cmake"
}

// The commands that hints give, ready to paste into a shell.
#pragma once

#include <string>
#include <vector>

#include "ferry/engine_file.h"

namespace ferry {

/// Quoted for a POSIX shell if it needs to be.
std::string shell_quoted(const std::string& word);

/// "1,1:8:32", as --batch takes it.
std::string batch_list(const std::vector<BatchProfile>& profiles);

/// `ferry build ONNX -o PLAN --backend ... --batch ...`, in backquotes.
std::string build_command(const std::string& onnx_path, const std::string& plan_path, const std::string& backend,
                          const BuildOptions& options);

/// The command that builds again what a sidecar describes. `target` empty: for this machine.
std::string rebuild_command(const Sidecar& sidecar, const std::string& plan_path, const std::string& target = {});

}  // namespace ferry

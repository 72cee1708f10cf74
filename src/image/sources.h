// The parts that `open_pictures` is made of.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ferry/pictures.h"

namespace ferry {

/// Whether a name ends like a picture's: .jpg .jpeg .png .webp, in any case.
bool looks_like_picture(const std::string& name);
/// Every picture below a folder, sorted. Throws Error(kImage).
std::vector<std::string> pictures_below(const std::string& folder);

/// Whether these are the first bytes (512 will do) of a tar archive, also of one packed by gzip, bzip2, xz or zstd.
bool looks_like_archive(std::string_view first_bytes);
/// The pictures in an archive. `path` "-" is standard input, of which `head` has been read already.
std::unique_ptr<PictureSource> pictures_in_archive(const std::string& path, std::string head = {});

/// Everything that a file descriptor still gives, at most 1 GiB. Throws Error(kImage).
std::string read_rest(int fd, std::string head, const std::string& name);
constexpr std::size_t kLargestFile = std::size_t{1} << 30;

}  // namespace ferry

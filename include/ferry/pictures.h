// Where pictures come from: files, folders, lists, globs, tar archives, standard input; as one ordered stream.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ferry/image_set.h"

namespace ferry {

/// One picture of a stream, not decoded yet.
struct Picture {
  std::string name;        // stands in messages and results: the path, or "set.tar:photos/a.jpg"
  std::string bytes;       // the encoded picture, unless `is_file`
  bool is_file = true;     // `name` is a path and the file has not been read yet
  int label = -1;          // class number, where the source knows it
  std::string thumbnail;   // for who makes one while reading
  std::string error;       // not empty: it cannot be had, and why
  std::size_t number = 0;  // of the stream, from 0; set by who reads the source
};

/// A stream of pictures in a fixed order. Used by one thread at a time.
class PictureSource {
 public:
  virtual ~PictureSource() = default;
  /// The next picture; false at the end. Throws Error(kImage) where the stream itself cannot go on.
  virtual bool next(Picture& into) = 0;
  /// How many there are in all; 0: not known before the end.
  virtual std::int64_t total() const { return 0; }
};

/// These files, in this order.
std::unique_ptr<PictureSource> pictures_of(std::vector<ImageItem> items);
/// Encoded pictures in memory, called "picture 0", "picture 1", ... They must outlive the source.
std::unique_ptr<PictureSource> pictures_in_memory(const std::vector<std::string>& encoded);

/// What people name on a command line, in the order given; each is one of
///   a picture; a folder (every picture below it, sorted); a tar archive, plain or compressed (its members that look
///   like pictures, in the archive's order); a glob such as "photos/*.jpg" that no shell has expanded (sorted);
///   "@FILE": a text file with one path a line; "-": standard input: a tar archive, one picture, or one path a line.
/// Throws Error(kImage) for a name that is none of these and for a folder, a list or a glob without pictures. A broken
/// file is not noticed here but when it is read.
std::unique_ptr<PictureSource> open_pictures(const std::vector<std::string>& inputs);

/// Whether this build reads tar archives (it was built with libarchive).
bool tar_available() noexcept;

/// The encoded bytes of a picture: `bytes`, or the file's content. Throws Error(kImage) with the picture's name: no
/// file, not a regular one, or above 1 GiB.
std::string encoded_bytes(Picture& picture);

}  // namespace ferry

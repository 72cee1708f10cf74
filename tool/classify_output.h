// What `ferry classify` writes: a table, CSV or JSON lines, to stdout or to a file, picture by picture.
#pragma once

#include <memory>
#include <string>

#include "context.h"
#include "ferry/classifier.h"
#include "ferry/files.h"

namespace ferry::tool {

enum class ClassifyFormat { kTable, kCsv, kJsonLines };
/// "table", "csv", "jsonl"; by the file's ending where `name` is empty. Throws Error(kUsage).
ClassifyFormat classify_format(const std::string& name, const std::string& file);

/// {"picture":...,"labels":[{"class":...,"name":...,"probability":...}]} or {"picture":...,"error":...}.
Json to_json(const Classified& result);

class ClassifyOutput {
 public:
  /// An empty `file` is stdout. A file appears under its name when `finish` is called, complete.
  ClassifyOutput(ClassifyFormat format, const std::string& file, const Context& context);
  void add(const Classified& result);
  void finish();

 private:
  void write(const std::string& text);
  ClassifyFormat format_;
  const Context& context_;
  std::unique_ptr<AtomicFile> file_;
};

}  // namespace ferry::tool

#include "classify_output.h"

#include <fmt/core.h>

#include "console.h"
#include "ferry/error.h"
#include "text.h"

namespace ferry::tool {
namespace {

// RFC 4180: quoted where needed, quotes doubled.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

std::string csv(const Classified& result) {
  const std::string name = csv_field(result.name);
  if (!result.error.empty()) return fmt::format("{},,,,,{}\n", name, csv_field(result.error));
  std::string text;
  int rank = 0;
  for (const Label& label : result.labels)
    text += fmt::format("{},{},{},{},{:.6f},\n", name, ++rank, label.index, csv_field(label.name), label.score);
  return text;
}

std::string table_rows(const Classified& result, bool plain) {
  const std::string name = printable(result.name);
  std::string text = (plain ? name : console().out_style(Style::kBold, name)) + "\n";
  if (!result.error.empty()) return text + "  not classified: " + printable(result.error) + "\n";
  for (const Label& label : result.labels)
    text += fmt::format("  {:7.2f} %  {}\n", 100.0 * label.score, printable(label.name));
  return text;
}

}  // namespace

ClassifyFormat classify_format(const std::string& name, const std::string& file) {
  if (name == "table") return ClassifyFormat::kTable;
  if (name == "csv" || (name.empty() && lower(file).ends_with(".csv"))) return ClassifyFormat::kCsv;
  if (name == "jsonl" || (name.empty() && lower(file).ends_with(".jsonl"))) return ClassifyFormat::kJsonLines;
  if (name.empty()) return ClassifyFormat::kTable;
  throw Error(Stage::kUsage, "--format", fmt::format("'{}' is none of table, csv and jsonl", name));
}

Json to_json(const Classified& result) {
  Json json = {{"picture", result.name}};
  if (!result.error.empty()) {
    json["error"] = result.error;
    return json;
  }
  Json labels = Json::array();
  for (const Label& label : result.labels)
    labels.push_back({{"class", label.index}, {"name", label.name}, {"probability", label.score}});
  json["labels"] = std::move(labels);
  return json;
}

ClassifyOutput::ClassifyOutput(ClassifyFormat format, const std::string& file, const Context& context)
    : format_(format), context_(context) {
  if (!file.empty()) file_ = std::make_unique<AtomicFile>(file, Stage::kReport);
  if (format == ClassifyFormat::kCsv) write("picture,rank,class,name,probability,error\n");
}

void ClassifyOutput::write(const std::string& text) {
  if (file_)
    file_->write(text);
  else
    context_.print(text);
}

void ClassifyOutput::add(const Classified& result) {
  switch (format_) {
    case ClassifyFormat::kTable:
      return write(table_rows(result, file_ != nullptr));
    case ClassifyFormat::kCsv:
      return write(csv(result));
    case ClassifyFormat::kJsonLines:
      return write(to_json(result).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  }
}

void ClassifyOutput::finish() {
  if (file_) file_->commit();
}

}  // namespace ferry::tool

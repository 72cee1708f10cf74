// Photographs with their labels as one page: what the network saw, what each engine said, and where they disagree.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ferry/classifier.h"

namespace ferry {

struct ContactSheet {
  std::string title;                                       // "resnet101.pth: 400 photographs"
  std::vector<std::pair<std::string, std::string>> facts;  // preprocessing, class names, when, with what
  std::vector<std::string> engines;                        // the first is the one that the others are held against
  struct Photograph {
    std::string name;
    std::string thumbnail;                   // JPEG; may be empty
    std::vector<std::vector<Label>> labels;  // of each engine, best first; empty: it gave none
    std::string error;                       // why the first engine gave none
  };
  std::vector<Photograph> photographs;  // in the order of the stream
  std::size_t left_out = 0;             // more than these, which the page does not show
};

/// Photographs on which the best class of some engine is not that of the first one.
std::size_t disagreements(const ContactSheet& sheet);

/// One self-contained page (no network, light and dark): disagreements first.
std::string to_html(const ContactSheet& sheet);

}  // namespace ferry

#!/bin/sh
# WMT'14 English-German as the original's pre-process/wmt14en-de.sh makes it: Europarl v7, Common Crawl and News Commentary
# v12; 32,764 merges; newstest2013 is valid, newstest2014 test. Of some 4.5 million pairs. --archives DIR takes what
# you have.
exec sh "$(dirname "$0")/translation_corpus.sh" wmt14_en_de en de "$@"
